//! The `Sec-WebSocket-Accept` header: RFC 6455, section 4.2.2.

use data_encoding::BASE64;
use sha1_smol::Sha1;

const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Returns the `Sec-WebSocket-Accept` header for a client's `Sec-WebSocket-Key` (RFC 6455, section
/// 4.2.2).
///
/// For programs that answer the handshake themselves and hand the connection over with
/// [`Connector::adopt`](crate::Connector::adopt).
///
/// # Examples
///
/// ```
/// assert_eq!(kentros::accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
pub fn accept_key(key: &str) -> String {
    BASE64.encode(&Sha1::from(format!("{key}{GUID}")).digest().bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_the_one_that_tungstenite_derives() {
        for length in 0..200 {
            let key = "k".repeat(length);
            let expected = tungstenite::handshake::derive_accept_key(key.as_bytes());
            assert_eq!(accept_key(&key), expected, "{length}");
        }
    }
}
