//! The WebSocket handshake: RFC 6455, section 4.2.

use super::accept_key::accept_key;
use super::head::RequestHead;
use super::response::{Response, is_token};
use super::status;

/// Returns the bytes of the response that accepts a handshake.
///
/// Selects the first subprotocol offered, except those that start with `secret_prefix`: they carry
/// a secret, which the response must not repeat.
///
/// # Errors
/// The response that rejects the handshake.
pub(crate) fn accept(
    head: &RequestHead,
    origin_allowed: bool,
    secret_prefix: &str,
) -> Result<Vec<u8>, Response> {
    if head.method() != "GET" {
        return Err(Response::line(
            status::METHOD_NOT_ALLOWED,
            "a WebSocket handshake must use GET",
        )
        .with_header("Allow", "GET"));
    }
    if head.is_http_1_0 {
        return Err(Response::line(
            status::BAD_REQUEST,
            "a WebSocket needs HTTP/1.1. With nginx, add to the location: \
             proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; \
             proxy_set_header Connection \"upgrade\";",
        ));
    }
    if !head.has_list_item("upgrade", "websocket") || !head.has_list_item("connection", "upgrade") {
        return Err(Response::line(
            status::UPGRADE_REQUIRED,
            "this is a WebSocket endpoint: connect with ws:// or wss://",
        )
        .with_header("Upgrade", "websocket"));
    }
    if head.header("sec-websocket-version") != Some("13") {
        return Err(Response::line(
            status::UPGRADE_REQUIRED,
            "unsupported WebSocket version: use version 13",
        )
        .with_header("Upgrade", "websocket")
        .with_header("Sec-WebSocket-Version", "13"));
    }
    let key = head.header("sec-websocket-key").filter(|key| is_key(key)).ok_or_else(|| {
        Response::line(status::BAD_REQUEST, "Sec-WebSocket-Key must be 16 bytes in base64")
    })?;
    if !origin_allowed {
        let origin = head.header("origin").unwrap_or_default();
        return Err(Response::line(
            status::FORBIDDEN,
            &format!("origin {origin:?} is not allowed: add it to the server's allowed origins"),
        ));
    }
    let mut response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {}\r\n",
        accept_key(key),
    );
    // A browser that offers subprotocols fails the connection if none is selected.
    let mut offered = head.list_items("sec-websocket-protocol");
    if let Some(protocol) = offered.find(|p| is_token(p) && !p.starts_with(secret_prefix)) {
        response.push_str("Sec-WebSocket-Protocol: ");
        response.push_str(protocol);
        response.push_str("\r\n");
    }
    response.push_str("\r\n");
    Ok(response.into_bytes())
}

/// Whether `key` is the base64 of 16 bytes: 22 digits and two padding characters.
fn is_key(key: &str) -> bool {
    let is_digit = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    key.len() == 24 && key.ends_with("==") && key.bytes().take(22).all(is_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "GET /ws/stats HTTP/1.1\r\nHost: localhost:9001\r\nUpgrade: websocket\r\n\
        Connection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://localhost:9001\r\n\r\n";

    fn accepted(text: &str) -> Result<String, u16> {
        let head = RequestHead::parse(text.as_bytes()).unwrap().unwrap();
        accept(&head, !text.contains("evil"), "secret.")
            .map(|bytes| String::from_utf8(bytes).unwrap())
            .map_err(|r| r.status())
    }

    #[test]
    fn the_example_of_the_rfc_gets_the_response_of_the_rfc() {
        let response = accepted(GOOD).unwrap();
        assert!(response.starts_with("HTTP/1.1 101 "), "{response}");
        assert!(response.contains("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        assert!(response.ends_with("\r\n\r\n"));
        assert!(!response.contains("Extensions") && !response.contains("Protocol:"));
    }

    #[test]
    fn the_first_subprotocol_without_a_secret_is_selected() {
        let text = GOOD.replace("Origin:", "Sec-WebSocket-Protocol: a b, chat, x\r\nOrigin:");
        assert!(accepted(&text).unwrap().contains("\r\nSec-WebSocket-Protocol: chat\r\n"));
        let offer = "Sec-WebSocket-Protocol: secret.c2VjcmV0, kentros\r\nOrigin:";
        let response = accepted(&GOOD.replace("Origin:", offer)).unwrap();
        assert!(response.contains("\r\nSec-WebSocket-Protocol: kentros\r\n"), "{response}");
        let offer = offer.replace(", kentros", "");
        let response = accepted(&GOOD.replace("Origin:", &offer)).unwrap();
        assert!(!response.contains("Protocol:"), "{response}");
    }

    #[test]
    fn each_error_has_its_status() {
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
            assert_eq!(accepted(&GOOD.replace(from, to)), Err(status), "{to}");
        }
    }
}
