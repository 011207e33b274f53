//! The WebSocket handshake: RFC 6455, section 4.2.

use super::accept_key::accept_key;
use super::head::Head;
use super::response::{Response, is_token};
use super::status;

/// What stands before the token where it is the name of a subprotocol: a page can set no header
/// field of a WebSocket but this one.
pub(crate) const TOKEN_SUBPROTOCOL: &str = "kentros.bearer.";

/// The answer that turns the connection into a WebSocket; `own_page` unless it comes from a page
/// that may have none.
///
/// # Errors
/// The answer to a request that asks for none, or may not have one.
pub(crate) fn accept(head: &Head, own_page: bool) -> Result<Vec<u8>, Response> {
    if head.method() != "GET" {
        return Err(Response::line(status::METHOD_NOT_ALLOWED, "a WebSocket begins with GET")
            .with_header("Allow", "GET"));
    }
    if !head.lists("upgrade", "websocket") || !head.lists("connection", "upgrade") {
        return Err(Response::line(
            status::UPGRADE_REQUIRED,
            "this path is a WebSocket: connect with ws:// or wss://",
        )
        .with_header("Upgrade", "websocket"));
    }
    if head.field("sec-websocket-version") != Some("13") {
        return Err(Response::line(status::UPGRADE_REQUIRED, "only WebSocket version 13 is known")
            .with_header("Upgrade", "websocket")
            .with_header("Sec-WebSocket-Version", "13"));
    }
    let key = head.field("sec-websocket-key").filter(|key| is_key(key)).ok_or_else(|| {
        Response::line(status::BAD_REQUEST, "Sec-WebSocket-Key must be 16 bytes in base64")
    })?;
    if !own_page {
        let origin = head.field("origin").unwrap_or_default();
        return Err(Response::line(
            status::FORBIDDEN,
            &format!(
                "a page of another origin may not connect here: add {origin:?} to the server's \
                 allowed origins"
            ),
        ));
    }
    let mut answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n",
        accept_key(key),
    );
    // A browser that offers subprotocols ends a connection that takes up none of them. A token is
    // not repeated: who sends one as a subprotocol offers another beside it.
    let mut offered = head.tokens("sec-websocket-protocol");
    if let Some(protocol) = offered.find(|p| is_token(p) && !p.starts_with(TOKEN_SUBPROTOCOL)) {
        answer.push_str("Sec-WebSocket-Protocol: ");
        answer.push_str(protocol);
        answer.push_str("\r\n");
    }
    answer.push_str("\r\n");
    Ok(answer.into_bytes())
}

/// Sixteen bytes in base64: 22 digits and two signs of padding.
fn is_key(key: &str) -> bool {
    let digit = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    key.len() == 24 && key.ends_with("==") && key.bytes().take(22).all(digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "GET /ws/stats HTTP/1.1\r\nHost: localhost:9001\r\nUpgrade: websocket\r\n\
        Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://localhost:9001\r\n\r\n";

    fn answer(text: &str) -> Result<String, u16> {
        let head = Head::parse(text.as_bytes()).unwrap().unwrap();
        accept(&head, !text.contains("evil"))
            .map(|bytes| String::from_utf8(bytes).unwrap())
            .map_err(|r| r.status())
    }

    #[test]
    fn the_example_of_the_rfc_gets_the_answer_of_the_rfc() {
        let answer = answer(GOOD).unwrap();
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(answer.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert!(answer.ends_with("\r\n\r\n"));
        assert!(!answer.contains("Extensions") && !answer.contains("Protocol:"));
    }

    #[test]
    fn of_the_subprotocols_offered_one_is_taken_up() {
        let text = GOOD.replace("Origin:", "Sec-WebSocket-Protocol: a b, chat, x\r\nOrigin:");
        assert!(answer(&text).unwrap().contains("\r\nSec-WebSocket-Protocol: chat\r\n"));
        let offer = "Sec-WebSocket-Protocol: kentros.bearer.c2VjcmV0, kentros\r\nOrigin:";
        let answered = answer(&GOOD.replace("Origin:", offer)).unwrap();
        assert!(answered.contains("\r\nSec-WebSocket-Protocol: kentros\r\n"), "{answered}");
        let offer = offer.replace(", kentros", "");
        let answered = answer(&GOOD.replace("Origin:", &offer)).unwrap();
        assert!(!answered.contains("Protocol:"), "{answered}");
    }

    #[test]
    fn each_fault_has_its_status() {
        let cases = [
            ("GET /ws", "POST /ws", status::METHOD_NOT_ALLOWED),
            ("Upgrade: websocket", "Upgrade: h2c", status::UPGRADE_REQUIRED),
            ("keep-alive, Upgrade", "keep-alive", status::UPGRADE_REQUIRED),
            ("Version: 13", "Version: 8", status::UPGRADE_REQUIRED),
            ("dGhlIHNhbXBsZSBub25jZQ==", "short", status::BAD_REQUEST),
            ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ=!", status::BAD_REQUEST),
            ("Origin: http://localhost:9001", "Origin: http://evil.example", status::FORBIDDEN),
        ];
        for (from, to, status) in cases {
            assert_eq!(answer(&GOOD.replace(from, to)), Err(status), "{to}");
        }
    }
}
