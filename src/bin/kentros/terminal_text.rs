//! Text in terminal columns. A wide character takes two columns.

use unicode_width::UnicodeWidthChar as _;

/// The number of columns of the text.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

fn columns(c: char) -> usize {
    c.width().unwrap_or(0)
}

/// The longest prefix that fits into `room` columns.
pub(crate) fn prefix(text: &str, room: usize) -> &str {
    let mut used = 0;
    let overflow = text.char_indices().find(|(_, c)| {
        used += columns(*c);
        used > room
    });
    overflow.and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// Pads the text to exactly `room` columns, or shortens it with `…`.
pub(crate) fn fit(text: &str, room: usize) -> String {
    let (kept, ellipsis) = match room.checked_sub(1) {
        Some(less) if width(text) > room => (prefix(text, less), "…"),
        _ => (prefix(text, room), ""),
    };
    let padding = room.saturating_sub(width(kept) + width(ellipsis));
    format!("{kept}{ellipsis}{:padding$}", "")
}

/// Wraps the text at spaces into at most `max_lines` lines of at most `room` columns. If the text
/// does not fit, the last line ends with `…`.
pub(crate) fn wrap(text: &str, room: usize, max_lines: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = text;
    while width(rest) > room && lines.len() + 1 < max_lines {
        let words = prefix(rest, room + 1).rsplit_once(' ').map(|(words, _)| words);
        let line = words.unwrap_or_else(|| prefix(rest, room));
        lines.push(line.to_owned());
        rest = rest.strip_prefix(line).unwrap_or_default().trim_start();
    }
    lines.push(fit(rest, room).trim_end().to_owned());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wide_character_takes_two_columns_and_is_never_split() {
        assert_eq!(width("日本語"), 6);
        assert_eq!(width("e\u{301}"), 1);
        let cases = [(6, "日本語"), (7, "日本語 "), (5, "日本…"), (4, "日… "), (1, "…"), (0, "")];
        for (room, text) in cases {
            assert_eq!(fit("日本語", room), text);
        }
        assert_eq!(prefix("日本語", 3), "日");
    }

    #[test]
    fn text_is_wrapped_at_spaces_if_possible() {
        let cases: [(usize, &[&str]); 6] = [
            (12, &["one two six."]),
            (11, &["one two", "six."]),
            (7, &["one two", "six."]),
            (3, &["one", "two", "si…"]),
            (2, &["on", "e", "t…"]),
            (0, &["", "", ""]),
        ];
        for (room, lines) in cases {
            assert_eq!(wrap("one two six.", room, 3), lines, "{room}");
        }
    }
}
