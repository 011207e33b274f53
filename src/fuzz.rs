//! The fuzz targets of `fuzz/`, and tests that replay their corpus.
//!
//! Built only for tests and with `--cfg fuzzing`, which cargo-fuzz sets. A target panics if an
//! invariant is broken.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc
)]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use httparse::Status::Complete;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use serde_json::Value;

use crate::connection::reader::{self, ConnectionLimits, LimitWarnings};
use crate::http::base_path::BasePath;
use crate::http::head::{MAX_HEAD, RequestHead};
use crate::http::response::Response;
use crate::http::status;
use crate::server::auth::request_guard::{Decision, RequestChecks, RequestGuard};
use crate::server::routes::{RouteOutcome, RouteTable};
use crate::stats::protocol::{self, ClientCommand};
use crate::stats::socket::StatsSession;
use crate::{Client, Hub, HubConfig, Incoming, Message, ServerConfig, Session, Token};

pub use crate::docker::fuzz::{engine_json, engine_stream, event_lines};

/// Checks and routes a request on three servers: one without a token, one behind a proxy with a
/// token that inputs may contain, and one with a token that no input contains.
pub fn request_head(bytes: &[u8]) {
    static GUARDS: LazyLock<Mutex<[RequestGuard; 3]>> = LazyLock::new(|| {
        let mut proxied = RequestChecks::default();
        proxied.proxies.trust("10.0.0.0/8").unwrap();
        proxied.allow_origin("https://portal.example").unwrap();
        let guard = |checks, token: Option<&str>| {
            let token = token.map(|token| Token::new(token).unwrap());
            let (base, counters) = (BasePath::default(), Arc::default());
            RequestGuard::new(checks, token.as_ref(), open_paths(), &base, counters).unwrap()
        };
        Mutex::new([
            guard(RequestChecks::default(), None),
            guard(proxied, Some("a-token-of-letters")),
            guard(RequestChecks::default(), Some("no-input-has-this")),
        ])
    });
    let head = match RequestHead::parse(bytes) {
        Ok(Some(head)) => head,
        Ok(None) => return assert!(bytes.len() < MAX_HEAD, "the head has no maximum length"),
        Err(response) => return check_response(&response),
    };
    assert!((1..=bytes.len().min(MAX_HEAD)).contains(&head.length));
    for end in [head.length / 2, head.length - 1] {
        assert_eq!(RequestHead::parse(&bytes[..end]), Ok(None), "complete after {end} bytes");
    }
    let [open, proxied, with_token] = &mut *GUARDS.lock().unwrap();
    let rest = &bytes[head.length..];
    serve(open, &head, rest);
    serve(proxied, &head, rest);
    if serve(with_token, &head, rest) {
        assert!(["/healthz", "/readyz"].contains(&head.path()), "served without the token");
    }
}

/// Responds to a request. Returns whether it passed the checks.
fn serve(guard: &mut RequestGuard, head: &RequestHead, rest: &[u8]) -> bool {
    static ROUTES: LazyLock<RouteTable> =
        LazyLock::new(|| ServerConfig::default().routes.table(true).unwrap());
    // An hour later each time: wrong tokens in earlier inputs cause no delay.
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    static HOURS: AtomicU32 = AtomicU32::new(0);
    let peer = SocketAddr::from(([10, 0, 0, 1], 1));
    let now = *START + HOURS.fetch_add(1, Ordering::Relaxed) * Duration::from_secs(3600);
    let (response, allowed) = match guard.check(peer, head, now).1 {
        Decision::Allow { origin_allowed, .. } => {
            match ROUTES.dispatch(head.clone(), peer, origin_allowed) {
                RouteOutcome::Respond(response) => (response, true),
                RouteOutcome::Defer(_, request) => {
                    assert!(request.path().starts_with('/'));
                    return true;
                }
                RouteOutcome::RunHandler(..) | RouteOutcome::TryUpgrade(..) => {
                    panic!("no default route has a handler")
                }
                RouteOutcome::Upgrade(accept, ..) => {
                    assert_eq!(parse_response(&accept), (101, accept.len()));
                    return true;
                }
            }
        }
        Decision::Respond(response) => (response, false),
        Decision::ReadLoginForm(form) => {
            let body = &rest[..rest.len().min(form.length)];
            let response = guard.log_in(peer, &form, body, now);
            let logged_in = response.status() == status::SEE_OTHER;
            (response, logged_in)
        }
    };
    check_response(&response);
    allowed
}

fn open_paths() -> Vec<String> {
    vec!["/healthz".to_owned(), "/readyz".to_owned()]
}

/// The status of a response, and the length of its head.
fn parse_response(bytes: &[u8]) -> (u16, usize) {
    let mut fields = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut fields);
    let Ok(Complete(length)) = response.parse(bytes) else { panic!("not a response: {bytes:?}") };
    (response.code.unwrap(), length)
}

/// Checks that the bytes are one response, even if parts of the request appear in it.
fn check_response(response: &Response) {
    let bytes = response.bytes("default-src 'none'", false);
    let (_, length) = parse_response(&bytes);
    let head = std::str::from_utf8(&bytes[..length]).unwrap();
    let field = format!("Content-Length: {}\r\n", bytes.len() - length);
    assert!(head.contains(&field), "{head:?} lacks {field:?}");
}

/// Parses a message to the stats socket.
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

/// Feeds what a client sends after its handshake to its connection, session, hub and outbox. The
/// first byte is the number of read sizes that follow it; reads use these sizes in turn.
///
/// For every split into reads, the session must get the same messages, and the client the same
/// Close frame.
pub fn frames(bytes: &[u8]) {
    let Some((&sizes, rest)) = bytes.split_first() else { return };
    let sizes = usize::from(sizes % 8).min(rest.len());
    let (sizes, stream) = rest.split_at(sizes);
    // The responses to 1,024 bytes fit the socket's buffer, so they need not be read meanwhile.
    let stream = &stream[..stream.len().min(1024)];
    let expected = converse(Vec::new(), &[stream]);
    let mut pieces = Vec::new();
    let mut left = stream;
    for &size in sizes.iter().cycle().take(64) {
        let (piece, rest) = left.split_at(left.len().min(usize::from(size) + 1));
        pieces.push(piece);
        left = rest;
    }
    pieces.push(left);
    assert_eq!(converse(pieces.remove(0).to_vec(), &pieces), expected, "in reads of {sizes:?}");
}

/// The messages that the session got, and the code of the Close frame that the client got.
type Conversation = (Vec<Vec<u8>>, Option<u16>);

/// Runs one connection. The client sends these pieces, each for one read, and closes its half.
fn converse(early: Vec<u8>, pieces: &[&[u8]]) -> Conversation {
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
    let (seen, handled) = (Arc::default(), Arc::default());
    let mut session = Recorder {
        stats: StatsSession::new(&hub),
        seen: Arc::clone(&seen),
        handled: Arc::clone(&handled),
    };
    thread::scope(|scope| {
        let server = scope.spawn(|| reader::serve(&client, &mut session, early, &limits));
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            // Fails if the connection has ended, which is checked below.
            let _ = peer.write_all(piece);
            let unread =
                || rustix::io::ioctl_fionread(client.outbox().socket()).is_ok_and(|n| n > 0);
            while unread() && !server.is_finished() {
                thread::yield_now();
            }
        }
        let _ = peer.shutdown(Shutdown::Write);
        // Otherwise the thread may still be running when the fuzzer checks for leaks.
        server.join().expect("the connection's thread panicked");
    });
    assert!(
        hub.send_to(&client, &Message::new("late", ())).is_err(),
        "the client is still registered"
    );
    let mut out = Vec::new();
    peer.read_to_end(&mut out).expect("the stream ends cleanly");
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    // A Close with 1011 does not prove a panic: it may echo the client's.
    assert_eq!(handled.load(Ordering::Relaxed), seen.len(), "the session panicked");
    (seen, close_of(&out))
}

/// Records the messages that the stats socket's session receives, and how many calls returned.
struct Recorder {
    stats: StatsSession,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
    handled: Arc<AtomicUsize>,
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
        self.handled.fetch_add(1, Ordering::Relaxed);
    }
}

/// Parses what the server sent: complete frames, each text a JSON document, a Close frame last.
/// Returns the code of the Close frame, or 1005 if it has none.
fn close_of(mut out: &[u8]) -> Option<u16> {
    while let [first, length, rest @ ..] = out {
        let (extended, length) = match length {
            0..126 => (0, usize::from(*length)),
            126 => (2, usize::from(u16::from_be_bytes(rest[..2].try_into().unwrap()))),
            _ => panic!("masked or too long: {out:?}"),
        };
        let (payload, after) = rest[extended..].split_at(length);
        match first {
            0x81 => {
                let message: Value =
                    serde_json::from_slice(payload).expect("text frames contain JSON");
                assert!(message["type"].is_string(), "{message}");
            }
            0x8a => assert!(length <= 125),
            0x88 => {
                assert!(after.is_empty(), "data after the Close frame: {after:?}");
                return Some(payload.get(..2).map_or(1005, |c| u16::from_be_bytes([c[0], c[1]])));
            }
            other => panic!("unexpected frame: {other:#x}"),
        }
        out = after;
    }
    assert!(out.is_empty(), "incomplete frame");
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
            // Shown if the test fails.
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
