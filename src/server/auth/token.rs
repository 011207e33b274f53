//! The access token.

use std::fmt;

use super::secret::Secret;
use crate::Error;

/// The shortest token. 16 random letters and digits are 95 bits, too many to guess.
const MIN_LENGTH: usize = 16;
/// The longest token.
const MAX_LENGTH: usize = 512;

/// An access token: 16 to 512 visible ASCII characters, not all the same.
///
/// `Debug` does not show the token, and neither do errors and the log. To generate one:
///
/// ```text
/// openssl rand -hex 32
/// ```
///
/// # Examples
///
/// ```
/// use kentros::{Access, ServerConfig, Token};
///
/// let mut config = ServerConfig::default();
/// config.access = Access::Token(Token::new("6f1ed002ab5595859014ebf0951522d9")?);
/// assert!(!format!("{config:?}").contains("6f1e"));
/// assert!(Token::new("hunter2").is_err(), "too short");
/// # Ok::<(), kentros::Error>(())
/// ```
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// Creates a token.
    ///
    /// # Errors
    ///
    /// Returns [`Invalid`](crate::ErrorKind::Invalid) if `token` is shorter than 16 or longer than
    /// 512 characters, contains anything but visible ASCII characters, or is one repeated character.
    /// The message does not repeat the token.
    pub fn new(token: impl Into<String>) -> Result<Self, Error> {
        let token = token.into();
        let length = token.len();
        if !token.bytes().all(|b| b.is_ascii_graphic()) {
            Err(Error::invalid(
                "a token may contain only ASCII letters, digits and punctuation, and no spaces",
            ))
        } else if length < MIN_LENGTH {
            Err(Error::invalid(format!(
                "a token must have at least {MIN_LENGTH} characters, not {length}: generate one \
                 with `openssl rand -hex 32`"
            )))
        } else if length > MAX_LENGTH {
            Err(Error::invalid(format!("a token must have at most {MAX_LENGTH} characters")))
        } else if token.bytes().all(|byte| token.starts_with(char::from(byte))) {
            Err(Error::invalid(
                "a token must not be one repeated character: generate one with `openssl rand -hex 32`",
            ))
        } else {
            Ok(Self(token))
        }
    }

    /// Returns the token as text, for a client that sends it to a server. Keep it out of logs and
    /// URLs.
    ///
    /// # Examples
    ///
    /// ```
    /// let token = kentros::Token::new("6f1ed002ab5595859014ebf0951522d9")?;
    /// let header = format!("Authorization: Bearer {}", token.expose());
    /// # Ok::<(), kentros::Error>(())
    /// ```
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Compares in constant time.
impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        Secret::new(&self.0).matches(&other.0)
    }
}

impl Eq for Token {}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_token_is_rejected_and_not_shown() {
        for bad in [
            "",
            "short",
            "fifteen-letters",
            "with spaces in the middle",
            "sixteen-letters\n",
            "xxxxxxxxxxxxxxxx",
        ] {
            let error = Token::new(bad).unwrap_err();
            assert!(error.is_invalid());
            assert!(bad.is_empty() || !error.to_string().contains(bad), "{error}");
        }
        let longest = "ab".repeat(MAX_LENGTH / 2);
        assert!(Token::new(&longest).is_ok());
        assert!(Token::new(longest + "a").is_err());
        let repeated = Token::new("0".repeat(64)).unwrap_err().to_string();
        assert!(repeated.contains("one repeated character"), "{repeated}");
        let token = Token::new("sixteen-letters!").unwrap();
        assert_eq!(format!("{token:?}"), "Token(..)");
    }
}
