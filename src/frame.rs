//! WebSocket frames as bytes, made once and shared by every client they go to.

use std::fmt;
use std::sync::Arc;

use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::Frame as Tungstenite;
use tungstenite::protocol::frame::coding::{Data, OpCode};

/// One whole, unmasked frame, ready for the socket.
#[derive(Clone)]
pub(crate) struct Frame {
    bytes: Arc<[u8]>,
    /// What the frame is the newest of; a queue keeps only the newest of each topic.
    topic: Option<Arc<str>>,
}

impl Frame {
    /// A text message.
    pub(crate) fn text(text: &str) -> Self {
        Self::data(text.as_bytes(), Data::Text)
    }

    /// A binary message.
    pub(crate) fn binary(bytes: &[u8]) -> Self {
        Self::data(bytes, Data::Binary)
    }

    /// A ping without a payload.
    pub(crate) fn ping() -> Self {
        Self::encode(Tungstenite::ping(Vec::new()))
    }

    /// A Close with this code; a reason over the 123 bytes that RFC 6455, section 5.5, leaves for
    /// it is cut at a character.
    pub(crate) fn close(code: u16, reason: &str) -> Self {
        let end = (0..=reason.len().min(123)).rev().find(|&i| reason.is_char_boundary(i));
        let reason = end.and_then(|end| reason.get(..end)).unwrap_or_default();
        Self::echo(Some(CloseFrame { code: code.into(), reason: reason.into() }))
    }

    /// The Close that answers a peer's.
    pub(crate) fn echo(close: Option<CloseFrame>) -> Self {
        Self::encode(Tungstenite::close(close))
    }

    /// Bytes that are frames already, or the HTTP answer that comes before the first.
    pub(crate) fn raw(bytes: &[u8]) -> Self {
        Self { bytes: bytes.into(), topic: None }
    }

    /// The same frame, as the newest of `topic`.
    pub(crate) fn latest(mut self, topic: Arc<str>) -> Self {
        self.topic = Some(topic);
        self
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The text of a text message.
    pub(crate) fn as_text(&self) -> Option<&str> {
        // RFC 6455, section 5.2: the length is in the second byte, or in the two or eight after.
        let header = match self.bytes.get(..2)? {
            [0x81, 126] => 4,
            [0x81, 127] => 10,
            [0x81, _] => 2,
            _ => return None,
        };
        std::str::from_utf8(self.bytes.get(header..)?).ok()
    }

    pub(crate) fn topic(&self) -> Option<&Arc<str>> {
        self.topic.as_ref()
    }

    fn data(payload: &[u8], kind: Data) -> Self {
        Self::encode(Tungstenite::message(payload.to_vec(), OpCode::Data(kind), true))
    }

    fn encode(frame: Tungstenite) -> Self {
        let mut bytes = Vec::with_capacity(frame.len());
        // Writing to a Vec cannot fail.
        let _ = frame.format(&mut bytes);
        Self { bytes: bytes.into(), topic: None }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({} bytes, {:?})", self.bytes.len(), self.topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_frame_is_final_unmasked_and_holds_the_text() {
        assert_eq!(Frame::text("hi").bytes(), [0x81, 2, b'h', b'i']);
    }

    #[test]
    fn a_long_close_reason_is_cut_at_a_character() {
        let frame = Frame::close(1008, &"é".repeat(100));
        assert_eq!(frame.bytes().len(), 2 + 2 + 122);
        assert_eq!(frame.bytes().get(2..4), Some(&1008_u16.to_be_bytes()[..]));
    }
}
