//! The token that lets people in, and how one is compared.

use std::fmt;
use std::hint::black_box;
use std::iter::repeat;

use crate::Error;

/// The shortest token: 16 random letters and digits are 95 bits, out of reach of any guessing.
const MIN_TOKEN: usize = 16;
/// The longest.
const MAX_TOKEN: usize = 512;
/// The longest secret, a token of 512 bytes in base64 included.
const MAX_SECRET: usize = 1024;

/// A secret that lets in who shows it: 16 to 512 visible ASCII characters.
///
/// It never shows: not in `Debug`, not in an error, not in the log. There are good ones:
///
/// ```text
/// openssl rand -hex 32
/// ```
///
/// ```
/// use kentros::{Access, ServerConfig, Token};
///
/// let mut config = ServerConfig::default();
/// config.access = Access::Token(Token::new("6f1ed002ab5595859014ebf0951522d9")?);
/// assert!(!format!("{config:?}").contains("6f1e"));
/// assert!(Token::new("hunter2").is_err(), "too easy to guess");
/// # Ok::<(), kentros::Error>(())
/// ```
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// A token of these characters.
    ///
    /// # Errors
    /// [`is_invalid`](Error::is_invalid) if it is empty, too short to resist guessing, too long, or
    /// if something in it cannot stand in a header field. The message does not repeat it.
    pub fn new(token: impl Into<String>) -> Result<Self, Error> {
        let token = token.into();
        let length = token.len();
        if !token.bytes().all(|b| b.is_ascii_graphic()) {
            Err(Error::invalid("a token is of letters, digits and signs, without blanks"))
        } else if length < MIN_TOKEN {
            Err(Error::invalid(format!(
                "a token has at least {MIN_TOKEN} characters, not {length}: `openssl rand -hex 32` makes a good one"
            )))
        } else if length > MAX_TOKEN {
            Err(Error::invalid(format!("a token has at most {MAX_TOKEN} characters")))
        } else {
            Ok(Self(token))
        }
    }

    /// The token itself, for a client that shows it to a server: keep it out of logs and URLs.
    ///
    /// ```
    /// let token = kentros::Token::new("6f1ed002ab5595859014ebf0951522d9")?;
    /// let field = format!("Authorization: Bearer {}", token.expose());
    /// # Ok::<(), kentros::Error>(())
    /// ```
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// In a time that tells nothing of either.
impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        Secret::new(&self.0).is(&other.0)
    }
}

impl Eq for Token {}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// What a visitor's word is compared with, in a time that tells nothing of it.
pub(crate) struct Secret {
    /// Zeroes to the end.
    bytes: [u8; MAX_SECRET],
    length: usize,
}

impl Secret {
    /// `text` has at most 1,024 bytes.
    pub(crate) fn new(text: &str) -> Self {
        debug_assert!(text.len() <= MAX_SECRET);
        let mut bytes = [0; MAX_SECRET];
        for (place, byte) in bytes.iter_mut().zip(text.bytes()) {
            *place = byte;
        }
        Self { bytes, length: text.len() }
    }

    /// Whether this is it. Every byte is looked at, whatever the first ones are, and as many as a
    /// secret can have, whatever the length of this one.
    pub(crate) fn is(&self, given: &str) -> bool {
        let given_bytes = given.bytes().chain(repeat(0));
        let difference = self
            .bytes
            .iter()
            .zip(given_bytes)
            .fold(self.length ^ given.len(), |all, (ours, theirs)| {
                black_box(all | usize::from(ours ^ theirs))
            });
        difference == 0
    }
}

/// Base64 of RFC 4648, section 5, without padding: it can stand in the name of a subprotocol.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0, |word, &byte| word << 8 | usize::from(byte));
        // The bits are at the left of 24.
        let word = word << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            let six = word >> (18 - 6 * digit) & 63;
            text.extend(DIGITS.get(six).map(|&digit| char::from(digit)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_itself_alone() {
        let token = "6f1ed002ab559585";
        let secret = Secret::new(token);
        assert!(secret.is(token));
        let last = format!("{}6", &token[..15]);
        let first = format!("7{}", &token[1..]);
        let (more, nul) = (format!("{token}6"), format!("{token}\0"));
        let long = format!("{token}{}", "\0".repeat(2 * MAX_SECRET));
        for other in ["", "\0", &last, &first, &token[..15], &more, &nul, &long] {
            assert!(!secret.is(other), "{other:?}");
        }
        let longest = "x".repeat(MAX_SECRET);
        assert!(Secret::new(&longest).is(&longest));
        assert!(!Secret::new(&longest).is(&format!("{longest}x")));
    }

    #[test]
    fn a_token_is_long_and_plain_and_never_shows() {
        for bad in ["", "short", "fifteen-letters", "with blanks in its midst", "sixteen-letters\n"]
        {
            let error = Token::new(bad).unwrap_err();
            assert!(error.is_invalid());
            assert!(bad.is_empty() || !error.to_string().contains(bad), "{error}");
        }
        assert!(Token::new("x".repeat(MAX_TOKEN)).is_ok());
        assert!(Token::new("x".repeat(MAX_TOKEN + 1)).is_err());
        let token = Token::new("sixteen-letters!").unwrap();
        assert_eq!(format!("{token:?}"), "Token(..)");
    }

    #[test]
    fn base64url_is_that_of_the_rfc() {
        // RFC 4648, section 10, without padding.
        let cases = [
            ("", ""),
            ("f", "Zg"),
            ("fo", "Zm8"),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg"),
            ("fooba", "Zm9vYmE"),
        ];
        for (text, expected) in cases {
            assert_eq!(base64url(text.as_bytes()), expected);
        }
        assert_eq!(base64url(&[0xfb, 0xff]), "-_8");
    }
}
