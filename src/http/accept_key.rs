//! `Sec-WebSocket-Accept`: RFC 6455, section 4.2.2. Pure.
//!
//! It shows that this server has understood the handshake, and protects nothing; so SHA-1 will do,
//! and the few lines of it here save every embedder eight crates.

const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The `Sec-WebSocket-Accept` header for a client's `Sec-WebSocket-Key` (RFC 6455, section 4.2.2):
/// for programs that answer the handshake themselves and hand the connection over with
/// [`Connector::adopt`](crate::Connector::adopt).
///
/// ```
/// assert_eq!(kentros::accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
pub fn accept_key(key: &str) -> String {
    base64(&sha1(format!("{key}{GUID}").as_bytes()))
}

/// FIPS 180-4, section 6.1, whose names these are.
#[allow(clippy::many_single_char_names)]
fn sha1(message: &[u8]) -> [u8; 20] {
    let mut padded = message.to_vec();
    padded.push(0x80);
    padded.resize(padded.len().next_multiple_of(64), 0);
    if padded.len() - message.len() < 9 {
        padded.resize(padded.len() + 64, 0);
    }
    let bits = (message.len() as u64 * 8).to_be_bytes();
    padded.truncate(padded.len() - bits.len());
    padded.extend(bits);

    let mut hash = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    for block in padded.chunks_exact(64) {
        let mut words: Vec<u32> = block
            .chunks_exact(4)
            .map(|bytes| bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte)))
            .collect();
        let [mut a, mut b, mut c, mut d, mut e] = hash;
        for t in 0..80 {
            let at = |words: &[u32], t: usize| words.get(t).copied().unwrap_or_default();
            if t >= 16 {
                let word = [3, 8, 14, 16].iter().fold(0, |word, back| word ^ at(&words, t - back));
                words.push(word.rotate_left(1));
            }
            let (mixed, constant) = match t {
                0..20 => (b & c | !b & d, 0x5a82_7999),
                20..40 => (b ^ c ^ d, 0x6ed9_eba1),
                40..60 => (b & c | b & d | c & d, 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6),
            };
            let sum = [mixed, e, constant, at(&words, t)];
            let next = sum.into_iter().fold(a.rotate_left(5), u32::wrapping_add);
            (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
        }
        for (sum, word) in hash.iter_mut().zip([a, b, c, d, e]) {
            *sum = sum.wrapping_add(word);
        }
    }
    let mut digest = [0; 20];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(hash) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let all = (0..3).fold(0, |all, n| all << 8 | three.get(n).map_or(0, |b| usize::from(*b)));
        for n in 0..4 {
            let digit = DIGITS.get(all >> (18 - 6 * n) & 63).filter(|_| n <= three.len());
            text.push(digit.map_or('=', |digit| char::from(*digit)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digests_are_those_of_the_standard() {
        let long = "a".repeat(1_000_000);
        let cases = [
            ("", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
            ("abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
                "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
            ),
            (long.as_str(), "34aa973cd4c4daa4f61eeb2bdbad27316534016f"),
        ];
        for (message, digest) in cases {
            let hash = sha1(message.as_bytes());
            let words: Vec<String> = hash
                .chunks(4)
                .map(|word| format!("{:08x}", u32::from_be_bytes(word.try_into().unwrap())))
                .collect();
            assert_eq!(words.concat(), digest);
        }
    }

    #[test]
    fn every_length_is_padded_as_another_implementation_does() {
        // One more or less than a block is where padding goes wrong.
        for length in 0..200 {
            let key = "k".repeat(length);
            let other = tungstenite::handshake::derive_accept_key(key.as_bytes());
            assert_eq!(accept_key(&key), other, "{length}");
        }
    }

    #[test]
    fn base64_is_padded() {
        let cases =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")];
        for (bytes, text) in cases {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0xef, 0xbe]), "/+++");
    }
}
