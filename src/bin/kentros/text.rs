//! Text as it stands on a terminal: in columns, of which a letter may take two. Pure.

use unicode_width::UnicodeWidthChar as _;

/// A name as it may go to a terminal: control characters could move its cursor, and those for the
/// direction turn the rest of the line round.
pub(crate) fn printable(name: &str) -> String {
    let turns = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    name.chars().map(|c| if c.is_control() || turns(c) { '?' } else { c }).collect()
}

/// The columns it takes.
pub(crate) fn width(text: &str) -> usize {
    text.chars().map(columns).sum()
}

fn columns(c: char) -> usize {
    c.width().unwrap_or(0)
}

/// As much of its beginning as so many columns hold.
pub(crate) fn beginning(text: &str, room: usize) -> &str {
    let mut used = 0;
    let over = text.char_indices().find(|(_, c)| {
        used += columns(*c);
        used > room
    });
    over.and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// The text in exactly so many columns; `…` where it is longer.
pub(crate) fn fit(text: &str, room: usize) -> String {
    let (kept, more) = match room.checked_sub(1) {
        Some(less) if width(text) > room => (beginning(text, less), "…"),
        _ => (beginning(text, room), ""),
    };
    let left = room.saturating_sub(width(kept) + width(more));
    format!("{kept}{more}{:left$}", "")
}

/// Its lines, each of so many columns at most, broken between words where that can be; the last
/// one ends with `…` where there would be more than `most`.
pub(crate) fn wrap(text: &str, room: usize, most: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut rest = text;
    while width(rest) > room && lines.len() + 1 < most {
        let words = beginning(rest, room + 1).rsplit_once(' ').map(|(words, _)| words);
        let line = words.unwrap_or_else(|| beginning(rest, room));
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
    fn a_wide_letter_takes_two_columns_and_none_is_halved() {
        assert_eq!(width("日本語"), 6);
        assert_eq!(width("e\u{301}"), 1);
        let cases = [(6, "日本語"), (7, "日本語 "), (5, "日本…"), (4, "日… "), (1, "…"), (0, "")];
        for (room, text) in cases {
            assert_eq!(fit("日本語", room), text);
        }
        assert_eq!(beginning("日本語", 3), "日");
    }

    #[test]
    fn a_line_is_broken_between_words_where_it_can_be() {
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

    #[test]
    fn nothing_in_a_name_moves_the_cursor_or_turns_the_line() {
        assert_eq!(printable("a\x1b[2J\t\u{9b}\u{202e}b\u{2068}é"), "a?[2J???b?é");
    }
}
