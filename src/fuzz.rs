//! What hostile bytes come to: the fuzz targets of `fuzz/`, and tests of the corpus kept there.
//!
//! Built for tests, and with `--cfg fuzzing`, which cargo-fuzz sets; else there is none of this.
//! A target panics where a promise is broken.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc
)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;
use std::time::Duration;

use httparse::Status::Complete;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use serde_json::Value;

use crate::connection::reader::{self, ConnectionLimits, LimitWarnings};
use crate::http::base::Base;
use crate::http::head::{Head, MAX_HEAD};
use crate::http::response::Response;
use crate::server::auth::gate::{Checks, Gate, Pass};
use crate::server::routes::{Outcome, RouteTable};
use crate::stats::protocol::{self, ClientCommand};
use crate::stats::socket::StatsSession;
use crate::{Client, Hub, HubConfig, Incoming, Message, ServerConfig, Session, Token};

pub use crate::docker::fuzz::{engine_json, engine_stream, event_lines};

/// A request, up to the first bytes of the answer: at a server for everyone, at one behind a proxy
/// with a token that an input may have, and at one with a token that no input has.
pub fn request_head(bytes: &[u8]) {
    static GATES: LazyLock<[Gate; 3]> = LazyLock::new(|| {
        let mut proxied = Checks::default();
        proxied.proxies.trust("10.0.0.0/8").unwrap();
        proxied.allow_origin("https://portal.example").unwrap();
        [
            Gate::new(Checks::default(), None, open()).unwrap(),
            Gate::new(proxied, Some(&Token::new("a-token-of-letters").unwrap()), open()).unwrap(),
            Gate::new(Checks::default(), Some(&Token::new("no-input-has-this").unwrap()), open())
                .unwrap(),
        ]
    });
    let head = match Head::parse(bytes) {
        Ok(Some(head)) => head,
        Ok(None) => return assert!(bytes.len() < MAX_HEAD, "it waits for a head without end"),
        Err(response) => return check_response(&response),
    };
    assert!((1..=bytes.len().min(MAX_HEAD)).contains(&head.length));
    for end in [head.length / 2, head.length - 1] {
        assert_eq!(Head::parse(&bytes[..end]), Ok(None), "whole after {end} bytes already");
    }
    let [open, proxied, locked] = &*GATES;
    let rest = &bytes[head.length..];
    enter(open, &head, rest);
    enter(proxied, &head, rest);
    if enter(locked, &head, rest) {
        assert!(["/healthz", "/readyz"].contains(&head.path()), "let in without the token");
    }
}

/// Answers a request; whether it was let in.
fn enter(gate: &Gate, head: &Head, rest: &[u8]) -> bool {
    static ROUTES: LazyLock<RouteTable> =
        LazyLock::new(|| ServerConfig::default().routes.table(true).unwrap());
    let peer = SocketAddr::from(([10, 0, 0, 1], 1));
    let (response, entered) = match gate.pass(peer, head).1 {
        Pass::Through { own_page } => match ROUTES.outcome(head.clone(), peer, own_page) {
            Outcome::Respond(response) => (response, true),
            Outcome::Defer(_, request) => {
                assert!(request.path().starts_with('/'));
                return true;
            }
            Outcome::Compute(..) | Outcome::Decide(..) => {
                panic!("there is no such route by default")
            }
            Outcome::Upgrade(answer, ..) => {
                assert_eq!(parse_response(&answer), (101, answer.len()));
                return true;
            }
        },
        Pass::Answer(response) | Pass::Wrong(response) => (response, false),
        Pass::Form(form) => {
            match gate.login(&form, &rest[..rest.len().min(form.length)], &Base::default()) {
                Ok(response) => (response, true),
                Err(response) => (response, false),
            }
        }
    };
    check_response(&response);
    entered
}

fn open() -> Vec<String> {
    vec!["/healthz".to_owned(), "/readyz".to_owned()]
}

/// The status and the length of the head.
fn parse_response(bytes: &[u8]) -> (u16, usize) {
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut fields);
    let Ok(Complete(length)) = response.parse(bytes) else { panic!("no answer: {bytes:?}") };
    (response.code.unwrap(), length)
}

/// An answer is one answer, whatever of the request is in it.
fn check_response(response: &Response) {
    let bytes = response.bytes("default-src 'none'", false);
    let (_, length) = parse_response(&bytes);
    let head = std::str::from_utf8(&bytes[..length]).unwrap();
    let field = format!("Content-Length: {}\r\n", bytes.len() - length);
    assert!(head.contains(&field), "{head:?} has not {field:?}");
}

/// The text of a message to the stats socket.
pub fn client_message(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match protocol::parse(text) {
        Ok(ClientCommand::Subscribe(ids) | ClientCommand::Unsubscribe(ids)) => {
            assert!(ids.iter().all(|id| (1..=255).contains(&id.len())), "{ids:?}");
        }
        Ok(ClientCommand::History(seconds)) => assert!((1..=300).contains(&seconds)),
        Err(refusal) => {
            let json = refusal.message().to_json().unwrap();
            let message: Value = serde_json::from_str(&json).unwrap();
            assert_eq!(message["type"], "error");
        }
    }
}

/// What a client sends after its handshake, through all of its state: connection, session, hub and
/// outbox. The first byte says how many bytes follow it that are the sizes of reads, by turns.
///
/// However the bytes come, the session must see the same messages, and the client the same Close.
pub fn frames(bytes: &[u8]) {
    let Some((&sizes, rest)) = bytes.split_first() else { return };
    let sizes = usize::from(sizes % 8).min(rest.len());
    let (sizes, stream) = rest.split_at(sizes);
    // All that is answered to so few bytes fits into a socket: nobody need read meanwhile.
    let stream = &stream[..stream.len().min(1024)];
    let whole = talk(Vec::new(), &[stream]);
    let mut pieces = Vec::new();
    let mut left = stream;
    for &size in sizes.iter().cycle().take(64) {
        let (piece, rest) = left.split_at(left.len().min(usize::from(size) + 1));
        pieces.push(piece);
        left = rest;
    }
    pieces.push(left);
    assert_eq!(talk(pieces.remove(0).to_vec(), &pieces), whole, "in reads of {sizes:?}");
}

/// What the session saw, and the code of the Close that the client got.
type Talk = (Vec<Vec<u8>>, Option<u16>);

/// One connection, on which a client sends these pieces, each to be read alone, and ends its half.
fn talk(early: Vec<u8>, pieces: &[&[u8]]) -> Talk {
    static HUB: LazyLock<Hub> = LazyLock::new(|| Hub::spawn(HubConfig::default()).unwrap());
    let limits = ConnectionLimits {
        max_message: 256,
        max_rate: None,
        silence_limit: Duration::from_secs(100),
        warnings: LimitWarnings::default(),
    };
    let hub = HUB.handle();
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
    let mut peer = TcpStream::from(theirs);
    let client = hub.client(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), TcpStream::from(ours));
    let (seen, answered) = (Arc::default(), Arc::default());
    let mut session = Recorder {
        stats: StatsSession::new(&hub),
        seen: Arc::clone(&seen),
        answered: Arc::clone(&answered),
    };
    thread::scope(|scope| {
        let server = scope.spawn(|| reader::serve(&client, &mut session, early, &limits));
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            // A connection that is cut says so below.
            let _ = peer.write_all(piece);
            let unread =
                || rustix::io::ioctl_fionread(client.outbox().socket()).is_ok_and(|n| n > 0);
            while unread() && !server.is_finished() {
                thread::yield_now();
            }
        }
        let _ = peer.shutdown(Shutdown::Write);
        // Else the thread may still be ending when the fuzzer looks for leaks.
        server.join().expect("the connection's thread panicked");
    });
    assert!(hub.send_to(&client, &Message::new("late", ())).is_err(), "it is still registered");
    let mut out = Vec::new();
    peer.read_to_end(&mut out).expect("a clean end of the stream");
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    // A 1011 alone proves nothing: a client may close with it, and is answered the same.
    assert_eq!(answered.load(Ordering::Relaxed), seen.len(), "the session panicked");
    (seen, close_of(&out))
}

/// Records what reaches the stats socket's session, and how often that came to an end.
struct Recorder {
    stats: StatsSession,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
    answered: Arc<AtomicUsize>,
}

impl Session for Recorder {
    fn open(&mut self, client: &Client) {
        self.stats.open(client);
    }

    fn message(&mut self, client: &Client, message: Incoming<'_>) {
        let (kind, bytes) = match message {
            Incoming::Text(text) => (b't', text.as_bytes()),
            Incoming::Binary(bytes) => (b'b', bytes),
        };
        self.seen.lock().unwrap().push([&[kind], bytes].concat());
        self.stats.message(client, message);
        self.answered.fetch_add(1, Ordering::Relaxed);
    }
}

/// Reads what the server sent: whole frames, each text one JSON document, a Close the last. The
/// Close's code, 1005 where it has none.
fn close_of(mut out: &[u8]) -> Option<u16> {
    while let [first, length, rest @ ..] = out {
        let (extended, length) = match length {
            0..126 => (0, usize::from(*length)),
            126 => (2, usize::from(u16::from_be_bytes(rest[..2].try_into().unwrap()))),
            _ => panic!("a masked frame or a huge one: {out:?}"),
        };
        let (payload, after) = rest[extended..].split_at(length);
        match first {
            0x81 => {
                let message: Value = serde_json::from_slice(payload).expect("a JSON document");
                assert!(message["type"].is_string(), "{message}");
            }
            0x8a => assert!(length <= 125),
            0x88 => {
                assert!(after.is_empty(), "something follows the Close: {after:?}");
                return Some(payload.get(..2).map_or(1005, |c| u16::from_be_bytes([c[0], c[1]])));
            }
            other => panic!("a frame of a kind that is not sent here: {other:#x}"),
        }
        out = after;
    }
    assert!(out.is_empty(), "half a frame");
    None
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// Runs a target on each input of its corpus.
    fn replay(name: &str, target: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
        let inputs: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
        assert!(inputs.len() > 3, "{} inputs in {}", inputs.len(), folder.display());
        for input in inputs {
            // Shown where the test fails.
            #[allow(clippy::print_stdout)]
            {
                println!("{}", input.display());
            }
            target(&fs::read(&input).unwrap());
        }
    }

    macro_rules! targets {
        ($($name:ident)*) => {$(
            #[test]
            fn $name() {
                replay(stringify!($name), super::$name);
            }
        )*};
    }

    targets! { request_head client_message frames engine_json engine_stream event_lines }
}
