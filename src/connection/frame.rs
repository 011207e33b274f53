//! WebSocket frames as bytes, made once and shared by every client they go to.

use std::fmt;
use std::sync::Arc;

use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::frame::{Frame as Tungstenite, FrameHeader};

use crate::{Error, Message};

/// One whole, unmasked frame, ready for the socket.
#[derive(Clone)]
pub(crate) struct Frame {
    bytes: Arc<[u8]>,
    kind: Kind,
}

/// How a queue treats a frame.
#[derive(Clone, Debug)]
enum Kind {
    /// Counts against the bounds: a client with too many of them queued is too slow.
    Event,
    /// Replaces a queued frame of the same conflation key.
    Latest(Arc<str>),
    /// Its sender waits for it, which bounds it.
    Awaited,
}

impl Frame {
    /// A text message.
    pub(crate) fn text(text: &str) -> Self {
        Self::data(&[text.as_bytes()], Data::Text)
    }

    /// A binary message.
    pub(crate) fn binary(bytes: &[u8]) -> Self {
        Self::data(&[bytes], Data::Binary)
    }

    /// A message about its own project.
    ///
    /// # Errors
    /// If its payload could not be written as JSON.
    pub(crate) fn message(message: &Message) -> Result<Self, Error> {
        Self::message_about(message, message.project_id())
    }

    /// A message about this project, or about none.
    ///
    /// # Errors
    /// If its payload could not be written as JSON.
    pub(crate) fn message_about(message: &Message, project: Option<&str>) -> Result<Self, Error> {
        let parts = message.parts(project)?;
        let frame = Self::data(&parts.each_ref().map(|part| part.as_bytes()), Data::Text);
        Ok(match message.conflation_key(project) {
            Some(key) => frame.latest(key),
            None => frame,
        })
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
        Self { bytes: bytes.into(), kind: Kind::Event }
    }

    /// The same frame, which replaces a queued one of the same key.
    pub(crate) fn latest(mut self, conflation_key: Arc<str>) -> Self {
        self.kind = Kind::Latest(conflation_key);
        self
    }

    /// The same frame, for which its sender waits.
    pub(crate) fn awaited(mut self) -> Self {
        self.kind = Kind::Awaited;
        self
    }

    /// Whether both are clones of one frame.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.bytes, &other.bytes)
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

    pub(crate) fn conflation_key(&self) -> Option<&Arc<str>> {
        if let Kind::Latest(key) = &self.kind { Some(key) } else { None }
    }

    /// Whether it counts against a queue's bounds.
    pub(crate) fn is_event(&self) -> bool {
        matches!(self.kind, Kind::Event)
    }

    fn data(payload: &[&[u8]], kind: Data) -> Self {
        let header = FrameHeader { opcode: OpCode::Data(kind), ..FrameHeader::default() };
        let length: usize = payload.iter().map(|part| part.len()).sum();
        let mut bytes = Vec::with_capacity(header.len(length as u64) + length);
        // Writing to a Vec cannot fail.
        let _ = header.format(length as u64, &mut bytes);
        for part in payload {
            bytes.extend_from_slice(part);
        }
        Self { bytes: bytes.into(), kind: Kind::Event }
    }

    fn encode(frame: Tungstenite) -> Self {
        let mut bytes = Vec::with_capacity(frame.len());
        // Writing to a Vec cannot fail.
        let _ = frame.format(&mut bytes);
        Self { bytes: bytes.into(), kind: Kind::Event }
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({} bytes, {:?})", self.bytes.len(), self.kind)
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
    fn a_text_frame_of_any_length_holds_the_text() {
        for length in [0, 1, 125, 126, 65_535, 65_536, 200_000] {
            let text = "x".repeat(length);
            let frame = Frame::text(&text);
            assert_eq!(frame.as_text(), Some(text.as_str()));
            let same = Tungstenite::message(text, OpCode::Data(Data::Text), true);
            assert_eq!(frame.bytes(), Frame::encode(same).bytes(), "as tungstenite writes it");
        }
    }

    #[test]
    fn a_long_close_reason_is_cut_at_a_character() {
        let frame = Frame::close(1008, &"é".repeat(100));
        assert_eq!(frame.bytes().len(), 2 + 2 + 122);
        assert_eq!(frame.bytes().get(2..4), Some(&1008_u16.to_be_bytes()[..]));
    }
}
