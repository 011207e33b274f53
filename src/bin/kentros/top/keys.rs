//! Parses the key presses that a terminal in raw mode sends.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Char(char),
    Enter,
    Escape,
    Backspace,
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    /// Ctrl-C and Ctrl-D.
    Quit,
}

/// Parses the bytes of one read. A terminal writes each escape sequence in one piece, so an escape
/// at the end is the Escape key.
pub(super) fn parse_keys(bytes: &[u8]) -> Vec<Key> {
    let mut keys = Vec::new();
    let text = String::from_utf8_lossy(bytes);
    let mut rest = text.as_ref();
    while let Some(first) = rest.chars().next() {
        let after = rest.get(first.len_utf8()..).unwrap_or_default();
        if first == '\x1b'
            && let Some(sequence) = after.strip_prefix(['[', 'O'])
        {
            let end = sequence.find(|c: char| ('@'..='~').contains(&c));
            let (sequence, after) = sequence.split_at(end.map_or(sequence.len(), |end| end + 1));
            keys.extend(key_of_sequence(sequence));
            rest = after;
            continue;
        }
        rest = after;
        keys.extend(match first {
            '\x03' | '\x04' => Some(Key::Quit),
            '\r' | '\n' => Some(Key::Enter),
            '\x1b' => Some(Key::Escape),
            '\x7f' | '\x08' => Some(Key::Backspace),
            c if c.is_control() => None,
            c => Some(Key::Char(c)),
        });
    }
    keys
}

/// The key of a control sequence, without its introducer.
fn key_of_sequence(sequence: &str) -> Option<Key> {
    Some(match sequence {
        "A" => Key::Up,
        "B" => Key::Down,
        "5~" => Key::PageUp,
        "6~" => Key::PageDown,
        "H" | "1~" | "7~" => Key::Home,
        "F" | "4~" | "8~" => Key::End,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_are_parsed_and_unknown_ones_ignored() {
        let cases: [(&[u8], &[Key]); 8] = [
            (b"q", &[Key::Char('q')]),
            ("ü".as_bytes(), &[Key::Char('ü')]),
            (b"\x1b[A\x1bOB\x1b[5~", &[Key::Up, Key::Down, Key::PageUp]),
            (b"\x1b[H\x1b[4~c", &[Key::Home, Key::End, Key::Char('c')]),
            (b"\x1b", &[Key::Escape]),
            (b"\x1b[1;5A\x1b[200~x", &[Key::Char('x')]),
            (b"a\r\x7f\x03", &[Key::Char('a'), Key::Enter, Key::Backspace, Key::Quit]),
            (b"\x01\xff\x1b[", &[Key::Char('\u{fffd}')]),
        ];
        for (bytes, expected) in cases {
            assert_eq!(parse_keys(bytes), expected, "{bytes:?}");
        }
    }
}
