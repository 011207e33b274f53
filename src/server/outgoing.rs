//! Responses being sent, and the limit of their memory.

use std::collections::HashMap;
use std::io::{self, IoSlice, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard};

use rustix::net::sockopt;
use tungstenite::Bytes;

use crate::lock::lock;

/// Maximum size of all responses being sent, in bytes.
const MAX_BYTES: usize = 64 << 20;
/// Responses up to this size, in bytes, are not counted. All requests together hold at most 16 MiB
/// of them, and health checks and errors can always be sent.
const UNCOUNTED: usize = 4 << 10;
/// The send buffer for a larger response, in bytes. The kernel doubles it, and would otherwise grow
/// it to megabytes.
const SEND_BUFFER: usize = 128 << 10;

/// The memory of the responses being sent.
///
/// A body shared by several responses counts once, because it is in memory once. So a thousand
/// clients that receive the same snapshot count little, but clients that do not read keep old
/// snapshots in memory, which add up.
#[derive(Clone, Debug, Default)]
pub(super) struct ResponseMemory(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    bytes: usize,
    /// Number of responses by address and length of their body.
    bodies: HashMap<(usize, usize), usize>,
}

/// A response being sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    head: Vec<u8>,
    body: Bytes,
    sent: usize,
    /// Set if the response is counted.
    memory: Option<ResponseMemory>,
}

impl ResponseMemory {
    /// Counts a response until it is dropped. Returns false if the limit is reached.
    ///
    /// The limit is checked before the response is added, so that one larger than the limit can
    /// still be sent.
    pub(super) fn add(&self, response: &mut Outgoing) -> bool {
        if response.len() <= UNCOUNTED {
            return true;
        }
        let mut kept = self.lock();
        if kept.bytes >= MAX_BYTES {
            return false;
        }
        kept.bytes += response.head.len();
        let holders = kept.bodies.entry(response.body_key()).or_default();
        *holders += 1;
        if *holders == 1 {
            kept.bytes += response.body.len();
        }
        response.memory = Some(self.clone());
        true
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        lock(&self.0)
    }
}

impl Outgoing {
    /// A response with its own `head`, and a body that it may share with others.
    pub(super) fn new(head: Vec<u8>, body: Bytes) -> Self {
        Self { head, body, sent: 0, memory: None }
    }

    /// Whether it counts against the limit.
    pub(super) fn is_counted(&self) -> bool {
        self.memory.is_some()
    }

    /// Limits the send buffer of the socket that the response is written to.
    pub(super) fn limit_send_buffer(&self, socket: &TcpStream) {
        if self.len() > SEND_BUFFER {
            // If this fails, the response only takes more of the kernel's memory.
            let _ = sockopt::set_socket_send_buffer_size(socket, SEND_BUFFER);
        }
    }

    /// Writes the rest of the response.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if the socket takes no more for now.
    pub(super) fn write_to(&mut self, mut socket: &TcpStream) -> io::Result<()> {
        while self.sent < self.len() {
            let head = self.head.get(self.sent..).unwrap_or_default();
            let body = self.body.get(self.sent.saturating_sub(self.head.len())..);
            let rest = [IoSlice::new(head), IoSlice::new(body.unwrap_or_default())];
            self.sent += socket.write_vectored(&rest)?;
        }
        Ok(())
    }

    fn len(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// Identifies the body: no other can be at its address while it is counted.
    fn body_key(&self) -> (usize, usize) {
        (self.body.as_ptr().addr(), self.body.len())
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        let Some(memory) = &self.memory else { return };
        let mut kept = memory.lock();
        kept.bytes -= self.head.len();
        let key = self.body_key();
        if let Some(holders) = kept.bodies.get_mut(&key) {
            *holders -= 1;
            if *holders == 0 {
                kept.bodies.remove(&key);
                kept.bytes -= self.body.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn body(bytes: usize) -> Bytes {
        vec![b'x'; bytes].into()
    }

    fn added(memory: &ResponseMemory, head: usize, body: Bytes) -> Option<Outgoing> {
        let mut response = Outgoing::new(vec![b'x'; head], body);
        memory.add(&mut response).then_some(response)
    }

    #[test]
    fn a_shared_body_counts_once() {
        let memory = ResponseMemory::default();
        let shared = body(30 * MIB);
        let responses: Vec<_> =
            (0..1000).map(|_| added(&memory, 10, shared.clone()).unwrap()).collect();
        assert_eq!(memory.lock().bytes, 30 * MIB + 1000 * 10);
        let other = added(&memory, 0, body(34 * MIB)).unwrap();
        assert!(added(&memory, 0, body(MIB)).is_none(), "the limit is reached");
        assert!(added(&memory, 10, shared).is_none(), "for shared bodies too");
        drop(responses);
        assert_eq!(memory.lock().bytes, 34 * MIB);
        drop(other);
        let kept = memory.lock();
        assert_eq!((kept.bytes, kept.bodies.len()), (0, 0));
    }

    #[test]
    fn a_small_response_is_sent_even_at_the_limit() {
        let memory = ResponseMemory::default();
        let _large = added(&memory, 0, body(2 * MAX_BYTES)).expect("one may be larger");
        assert!(added(&memory, 0, body(UNCOUNTED + 1)).is_none());
        assert!(added(&memory, 1000, body(UNCOUNTED - 1000)).is_some());
    }
}
