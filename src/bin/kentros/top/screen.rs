//! The terminal while `kentros top` has it, and as it was before once it is dropped.

use std::fs::File;
use std::io::{self, Write as _};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use super::frame::{Line, Style};

/// The other screen, without a cursor, whose long lines are cut.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// Around a picture: a terminal that knows this mode, "synchronized output", draws it at once.
const HOLD: &str = "\x1b[?2026h";
const RELEASE: &str = "\x1b[?2026l";

/// A terminal in raw mode. It is restored by the drop, a panic's too.
pub(super) struct Screen {
    tty: File,
    before: Termios,
    colour: bool,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// If it cannot be set: it is none, or it has gone.
    pub(super) fn take(tty: File, colour: bool) -> io::Result<Self> {
        let before = tcgetattr(&tty)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&tty, OptionalActions::Now, &raw)?;
        let mut screen = Self { tty, before, colour };
        screen.tty.write_all(ENTER.as_bytes())?;
        Ok(screen)
    }

    /// Columns and lines; 80x24 where the terminal does not say.
    pub(super) fn size(&self) -> (usize, usize) {
        match tcgetwinsize(&self.tty) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
                (size.ws_col.into(), size.ws_row.into())
            }
            _ => (80, 24),
        }
    }

    /// Shows these lines, in one write: each takes its predecessor's place, and nothing flickers.
    ///
    /// A line is erased before it is written: behind one as wide as the terminal the cursor stands
    /// on its last letter, which would be erased too.
    ///
    /// # Errors
    /// If the terminal has gone.
    pub(super) fn show(&mut self, lines: &[Line]) -> io::Result<()> {
        let mut text = format!("{HOLD}\x1b[H");
        for (n, line) in lines.iter().enumerate() {
            text.push_str(if n == 0 { "" } else { "\r\n" });
            // The last one erases what is below it too.
            text.push_str(if n + 1 == lines.len() { "\x1b[J" } else { "\x1b[K" });
            for (style, part) in line {
                let (on, off) = if self.colour { codes(*style) } else { ("", "") };
                text.push_str(on);
                text.push_str(part);
                text.push_str(off);
            }
        }
        text.push_str(RELEASE);
        self.tty.write_all(text.as_bytes())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that has gone needs neither.
        let _ = self.tty.write_all(LEAVE.as_bytes());
        let _ = tcsetattr(&self.tty, OptionalActions::Now, &self.before);
    }
}

fn codes(style: Style) -> (&'static str, &'static str) {
    match style {
        Style::Plain => ("", ""),
        Style::Head => ("\x1b[7m", "\x1b[0m"),
        Style::Strong => ("\x1b[1m", "\x1b[0m"),
        Style::Faint => ("\x1b[2m", "\x1b[0m"),
        Style::High => ("\x1b[33m", "\x1b[0m"),
        Style::Alarm => ("\x1b[31m", "\x1b[0m"),
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
    fn a_panic_too_leaves_the_terminal_as_it_was() {
        let outer = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&outer).unwrap();
        unlockpt(&outer).unwrap();
        let name = ptsname(&outer, Vec::new()).unwrap();
        let inner = File::from(open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap());
        let modes = || tcgetattr(&inner).unwrap().local_modes;
        let before = modes();
        assert!(before.contains(LocalModes::ECHO | LocalModes::ICANON));
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let mut screen = Screen::take(inner.try_clone().unwrap(), true).unwrap();
            assert!(!modes().intersects(LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG));
            screen.show(&[vec![(Style::Alarm, "seen".to_owned())]]).unwrap();
            panic!("as a test");
        }));
        assert!(panicked.is_err());
        assert_eq!(modes(), before);
        drop(inner);
        let mut written = Vec::new();
        // A terminal that nobody has open any more ends with an error, after all that was written.
        File::from(outer).read_to_end(&mut written).unwrap_err();
        let written = String::from_utf8_lossy(&written);
        let picture = "\x1b[H\x1b[J\x1b[31mseen\x1b[0m";
        assert_eq!(written, format!("{ENTER}{HOLD}{picture}{RELEASE}{LEAVE}"));
    }
}
