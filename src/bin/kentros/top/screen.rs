//! The terminal in full-screen mode.

use std::fs::File;
use std::io::{self, Write as _};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use super::render::{StyledLine, TextStyle};

/// Switches to the alternate screen, hides the cursor and turns line wrapping off.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// Synchronized output: terminals that support it draw everything in between at once.
const BEGIN_UPDATE: &str = "\x1b[?2026h";
const END_UPDATE: &str = "\x1b[?2026l";

/// A terminal in raw mode on the alternate screen. Dropping it restores the terminal, after a panic
/// too.
pub(super) struct TerminalScreen {
    tty: File,
    original: Termios,
    color: bool,
}

impl TerminalScreen {
    /// Enters full-screen mode.
    ///
    /// # Errors
    /// `tty` is not a terminal, or it was closed.
    pub(super) fn enter(tty: File, color: bool) -> io::Result<Self> {
        let original = tcgetattr(&tty)?;
        let mut raw = original.clone();
        raw.make_raw();
        tcsetattr(&tty, OptionalActions::Now, &raw)?;
        let mut screen = Self { tty, original, color };
        screen.tty.write_all(ENTER.as_bytes())?;
        Ok(screen)
    }

    /// Columns and lines: 80x24 if the terminal does not report them.
    pub(super) fn size(&self) -> (usize, usize) {
        match tcgetwinsize(&self.tty) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
                (size.ws_col.into(), size.ws_row.into())
            }
            _ => (80, 24),
        }
    }

    /// Draws the lines over the previous ones, in one write to avoid flicker.
    ///
    /// Each line is erased before it is written. Erasing afterwards would remove the last character
    /// of a line as wide as the terminal, because the cursor stays on it.
    ///
    /// # Errors
    /// The terminal was closed.
    pub(super) fn draw(&mut self, lines: &[StyledLine]) -> io::Result<()> {
        let mut text = format!("{BEGIN_UPDATE}\x1b[H");
        for (n, line) in lines.iter().enumerate() {
            text.push_str(if n == 0 { "" } else { "\r\n" });
            // The last line also erases everything below.
            text.push_str(if n + 1 == lines.len() { "\x1b[J" } else { "\x1b[K" });
            for (style, piece) in line {
                let (start, end) = if self.color { escape_codes(*style) } else { ("", "") };
                text.push_str(start);
                text.push_str(piece);
                text.push_str(end);
            }
        }
        text.push_str(END_UPDATE);
        self.tty.write_all(text.as_bytes())
    }
}

impl Drop for TerminalScreen {
    fn drop(&mut self) {
        // Both fail if the terminal was closed, and then nothing needs to be restored.
        let _ = self.tty.write_all(LEAVE.as_bytes());
        let _ = tcsetattr(&self.tty, OptionalActions::Now, &self.original);
    }
}

fn escape_codes(style: TextStyle) -> (&'static str, &'static str) {
    match style {
        TextStyle::Plain => ("", ""),
        TextStyle::Header => ("\x1b[7m", "\x1b[0m"),
        TextStyle::Bold => ("\x1b[1m", "\x1b[0m"),
        TextStyle::Dim => ("\x1b[2m", "\x1b[0m"),
        TextStyle::Warning => ("\x1b[33m", "\x1b[0m"),
        TextStyle::Alert => ("\x1b[31m", "\x1b[0m"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use rustix::fs::{Mode, OFlags, open};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use rustix::termios::LocalModes;

    use super::*;

    #[test]
    fn a_panic_restores_the_terminal() {
        let outer = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&outer).unwrap();
        unlockpt(&outer).unwrap();
        let name = ptsname(&outer, Vec::new()).unwrap();
        let inner = File::from(open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap());
        let modes = || tcgetattr(&inner).unwrap().local_modes;
        let original = modes();
        assert!(original.contains(LocalModes::ECHO | LocalModes::ICANON));
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let mut screen = TerminalScreen::enter(inner.try_clone().unwrap(), true).unwrap();
            assert!(!modes().intersects(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG));
            screen.draw(&[vec![(TextStyle::Alert, "text".to_owned())]]).unwrap();
            panic!("test");
        }));
        assert!(panicked.is_err());
        assert_eq!(modes(), original);
        drop(inner);
        let mut written = Vec::new();
        // Reading fails at the end, because the other side is closed.
        File::from(outer).read_to_end(&mut written).unwrap_err();
        let written = String::from_utf8_lossy(&written);
        let line = "\x1b[H\x1b[J\x1b[31mtext\x1b[0m";
        assert_eq!(written, format!("{ENTER}{BEGIN_UPDATE}{line}{END_UPDATE}{LEAVE}"));
    }
}
