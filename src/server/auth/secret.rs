//! Comparing secrets in constant time.

use subtle::ConstantTimeEq;

/// The longest secret: room for a token of 512 bytes in base64.
const MAX_SECRET: usize = 1024;

/// A secret that is compared in constant time.
pub(crate) struct Secret {
    /// Padded with zeros, so that the time does not depend on the length either.
    padded: [u8; MAX_SECRET],
    length: usize,
}

impl Secret {
    /// `text` has at most 1,024 bytes.
    pub(crate) fn new(text: &str) -> Self {
        debug_assert!(text.len() <= MAX_SECRET);
        Self { padded: pad(text), length: text.len() }
    }

    /// Whether `candidate` is the secret. The time depends on the candidate's length at most.
    pub(crate) fn matches(&self, candidate: &str) -> bool {
        let same_bytes = self.padded.as_slice().ct_eq(pad(candidate).as_slice());
        (same_bytes & self.length.ct_eq(&candidate.len())).into()
    }
}

/// The first [`MAX_SECRET`] bytes of `text`.
fn pad(text: &str) -> [u8; MAX_SECRET] {
    let mut padded = [0; MAX_SECRET];
    for (to, byte) in padded.iter_mut().zip(text.bytes()) {
        *to = byte;
    }
    padded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_text_matches() {
        let token = "6f1ed002ab559585";
        let secret = Secret::new(token);
        assert!(secret.matches(token));
        let wrong_end = format!("{}6", &token[..15]);
        let wrong_start = format!("7{}", &token[1..]);
        let (longer, nul) = (format!("{token}6"), format!("{token}\0"));
        let padded = format!("{token}{}", "\0".repeat(2 * MAX_SECRET));
        for other in ["", "\0", &wrong_end, &wrong_start, &token[..15], &longer, &nul, &padded] {
            assert!(!secret.matches(other), "{other:?}");
        }
        let longest = "x".repeat(MAX_SECRET);
        assert!(Secret::new(&longest).matches(&longest));
        assert!(!Secret::new(&longest).matches(&format!("{longest}x")));
    }
}
