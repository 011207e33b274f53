//! Encoded WebSocket frames, shared by all clients they are sent to.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::frame::{Frame as Tungstenite, FrameHeader};

use crate::counters::QueuedBytes;
use crate::{Error, Message};

/// An encoded, unmasked frame.
#[derive(Clone)]
pub(crate) struct Frame {
    pub(super) encoded: Arc<Encoded>,
    kind: FrameKind,
    /// The counter of its hub, which counts the frame while it is in a queue.
    pub(super) counter: Option<Arc<QueuedBytes>>,
}

/// The part of a frame that its clones share.
pub(super) struct Encoded {
    bytes: Box<[u8]>,
    /// The number of queues that hold it.
    pub(super) queues: AtomicUsize,
}

/// How a queue treats a frame.
#[derive(Clone, Debug)]
enum FrameKind {
    /// Counts against the bounds of the queue.
    Event,
    /// Replaces a queued frame of the same conflation key.
    Latest(Arc<str>),
    /// Does not count, because its sender waits for it.
    Blocking,
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

    /// A message with its own project.
    ///
    /// # Errors
    /// If the payload cannot be encoded as JSON.
    pub(crate) fn message(message: &Message) -> Result<Self, Error> {
        Self::message_for(message, message.project_id())
    }

    /// A message with this project, or without one.
    ///
    /// # Errors
    /// If the payload cannot be encoded as JSON.
    pub(crate) fn message_for(message: &Message, project: Option<&str>) -> Result<Self, Error> {
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

    /// A Close with this code. The reason is cut, at a character boundary, to the 123 bytes that RFC
    /// 6455, section 5.5, allows.
    pub(crate) fn close(code: u16, reason: &str) -> Self {
        let end = (0..=reason.len().min(123)).rev().find(|&i| reason.is_char_boundary(i));
        let reason = end.and_then(|end| reason.get(..end)).unwrap_or_default();
        Self::echo(Some(CloseFrame { code: code.into(), reason: reason.into() }))
    }

    /// The Close that answers a peer's.
    pub(crate) fn echo(close: Option<CloseFrame>) -> Self {
        Self::encode(Tungstenite::close(close))
    }

    /// Bytes that are encoded already: frames, or the HTTP response before the first frame.
    pub(crate) fn raw(bytes: &[u8]) -> Self {
        Self::from_bytes(bytes.into())
    }

    /// Adds the frame to this counter while it is in a queue.
    pub(crate) fn counted(mut self, counter: &Arc<QueuedBytes>) -> Self {
        self.counter = Some(Arc::clone(counter));
        self
    }

    /// Makes the frame replace a queued one with the same key.
    pub(crate) fn latest(mut self, conflation_key: Arc<str>) -> Self {
        self.kind = FrameKind::Latest(conflation_key);
        self
    }

    /// Marks the frame as one that its sender waits for.
    pub(crate) fn blocking(mut self) -> Self {
        self.kind = FrameKind::Blocking;
        self
    }

    /// Whether both are clones of the same frame.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.encoded, &other.encoded)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.encoded.bytes
    }

    /// The text, if this is a text message.
    pub(crate) fn as_text(&self) -> Option<&str> {
        // RFC 6455, section 5.2: the length is in the second byte, or in the next two or eight.
        let header = match self.bytes().get(..2)? {
            [0x81, 126] => 4,
            [0x81, 127] => 10,
            [0x81, _] => 2,
            _ => return None,
        };
        std::str::from_utf8(self.bytes().get(header..)?).ok()
    }

    pub(crate) fn conflation_key(&self) -> Option<&Arc<str>> {
        if let FrameKind::Latest(key) = &self.kind { Some(key) } else { None }
    }

    /// Whether the frame counts against the bounds of a queue.
    pub(crate) fn is_event(&self) -> bool {
        matches!(self.kind, FrameKind::Event)
    }

    fn from_bytes(bytes: Box<[u8]>) -> Self {
        let encoded = Encoded { bytes, queues: AtomicUsize::new(0) };
        Self { encoded: Arc::new(encoded), kind: FrameKind::Event, counter: None }
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
        Self::from_bytes(bytes.into())
    }

    fn encode(frame: Tungstenite) -> Self {
        let mut bytes = Vec::with_capacity(frame.len());
        // Writing to a Vec cannot fail.
        let _ = frame.format(&mut bytes);
        Self::from_bytes(bytes.into())
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({} bytes, {:?})", self.bytes().len(), self.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_frame_is_final_and_unmasked() {
        assert_eq!(Frame::text("hi").bytes(), [0x81, 2, b'h', b'i']);
    }

    #[test]
    fn text_frames_of_all_lengths_are_encoded_like_tungstenite_does() {
        for length in [0, 1, 125, 126, 65_535, 65_536, 200_000] {
            let text = "x".repeat(length);
            let frame = Frame::text(&text);
            assert_eq!(frame.as_text(), Some(text.as_str()));
            let same = Tungstenite::message(text, OpCode::Data(Data::Text), true);
            assert_eq!(frame.bytes(), Frame::encode(same).bytes(), "{length} bytes");
        }
    }

    #[test]
    fn a_long_close_reason_is_cut_at_a_character() {
        let frame = Frame::close(1008, &"é".repeat(100));
        assert_eq!(frame.bytes().len(), 2 + 2 + 122);
        assert_eq!(frame.bytes().get(2..4), Some(&1008_u16.to_be_bytes()[..]));
    }
}
