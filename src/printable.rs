//! Text from outside, made safe for a terminal and for a log line.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Escapes control characters, such as newlines and the start of ANSI sequences, line separators and
/// bidirectional formatting as in JSON: `\n`, `\u001b`, `\u202e`.
///
/// Text from outside could otherwise fake log lines, control the terminal or reverse the rest of a
/// line. JSON keeps its meaning, and escaped text is not escaped again.
///
/// # Examples
///
/// ```
/// assert_eq!(kentros::printable("web\x1b[2J\r\n"), r"web\u001b[2J\r\n");
/// assert_eq!(kentros::printable("日本語 and \"é\""), "日本語 and \"é\"");
/// ```
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => escaped.push_str(r"\n"),
            '\r' => escaped.push_str(r"\r"),
            '\t' => escaped.push_str(r"\t"),
            // Writing to a String cannot fail. All of them have at most four digits.
            c if is_unsafe(c) => drop(write!(escaped, "\\u{:04x}", u32::from(c))),
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

/// Control characters (C0, DEL, C1), the separators of lines and paragraphs, and the formatting
/// characters of the Unicode Bidirectional Algorithm (UAX #9).
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2066}'..='\u{206f}'
        )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn unsafe_characters_are_escaped_once_and_others_kept() {
        for (text, escaped) in [
            ("\x1b[2J", r"\u001b[2J"),
            ("a\r\nb\tc", r"a\r\nb\tc"),
            ("\0\x7f\u{85}\u{9b}", r"\u0000\u007f\u0085\u009b"),
            ("\u{61c}\u{200e}\u{200f}", r"\u061c\u200e\u200f"),
            ("\u{2028}\u{2029}\u{202a}\u{202e}", r"\u2028\u2029\u202a\u202e"),
            ("\u{2066}\u{2069}", r"\u2066\u2069"),
            ("", ""),
            (r"C:\new é 日本語 👩‍🚀", r"C:\new é 日本語 👩‍🚀"),
        ] {
            assert_eq!(printable(text), escaped);
            assert_eq!(printable(escaped), escaped);
        }
        assert!(matches!(printable("web"), Cow::Borrowed("web")));
    }

    #[test]
    fn json_keeps_its_meaning() {
        let all: String = ('\0'..='\u{2100}').collect();
        let json = serde_json::to_string(&all).unwrap();
        let safe = printable(&json);
        assert!(!safe.contains(is_unsafe));
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), all);
    }
}
