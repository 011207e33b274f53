//! The log, on stderr, as text or JSON.

use std::io::{self, IsTerminal as _, Write as _};

use kentros::printable;
use log::{LevelFilter, Log, Metadata, Record};
use serde_json::json;
use simplelog::{ColorChoice, ConfigBuilder, TermLogger, TerminalMode};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LogOptions {
    pub(crate) level: LevelFilter,
    pub(crate) format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Starts logging. Only kentros's own records are logged: at `trace` the dependencies would log
/// whole frames.
pub(crate) fn start(LogOptions { level, format }: LogOptions) {
    let started = match format {
        LogFormat::Text => {
            let config = ConfigBuilder::new()
                .set_time_format_rfc3339()
                .set_thread_level(LevelFilter::Debug)
                .set_target_level(LevelFilter::Debug)
                .set_location_level(LevelFilter::Off)
                .add_filter_allow_str("kentros")
                .build();
            let color =
                if io::stderr().is_terminal() { ColorChoice::Auto } else { ColorChoice::Never };
            let logger = TermLogger::new(level, config, TerminalMode::Stderr, color);
            log::set_max_level(level);
            log::set_boxed_logger(Box::new(PrintableLogger(*logger)))
        }
        LogFormat::Json => {
            log::set_max_level(level);
            log::set_boxed_logger(Box::new(JsonLogger))
        }
    };
    // Fails only if a logger is already set, and nothing else sets one.
    debug_assert!(started.is_ok());
}

/// Escapes each message, so that no text from outside can fake a line or control the terminal.
struct PrintableLogger<L>(L);

impl<L: Log> Log for PrintableLogger<L> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        let message = record.args().to_string();
        let message = printable(&message);
        let metadata = record.metadata().clone();
        self.0.log(&Record::builder().metadata(metadata).args(format_args!("{message}")).build());
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// Writes one JSON object per line: `timestamp`, `level`, `target`, `message`.
struct JsonLogger;

impl Log for JsonLogger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("kentros")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = json_line(record, OffsetDateTime::now_utc());
            // A failure to log must not stop the program.
            let _ = io::stderr().lock().write_all(line.as_bytes());
        }
    }

    fn flush(&self) {}
}

fn json_line(record: &Record<'_>, now: OffsetDateTime) -> String {
    let line = json!({
        "timestamp": now.format(&Rfc3339).unwrap_or_default(),
        "level": record.level().as_str().to_ascii_lowercase(),
        "target": record.target(),
        "message": record.args().to_string(),
    });
    format!("{}\n", printable(&line.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_message_is_one_json_line_without_unsafe_characters() {
        let args = format_args!("a \"b\"\nc\u{202e}\u{9b}");
        let record = Record::builder().args(args).level(log::Level::Warn).target("kentros").build();
        let line = json_line(&record, OffsetDateTime::UNIX_EPOCH);
        assert_eq!(line.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["message"], "a \"b\"\nc\u{202e}\u{9b}");
        assert!(line.trim_end().is_ascii());
        assert_eq!(value["timestamp"], "1970-01-01T00:00:00Z");
        assert_eq!(value["level"], "warn");
    }

    /// Remembers level, target and message.
    struct RecordingLogger<'a>(&'a Mutex<Vec<String>>);

    impl Log for RecordingLogger<'_> {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &Record<'_>) {
            let line = format!("{} {} {}", record.level(), record.target(), record.args());
            self.0.lock().unwrap().push(line);
        }

        fn flush(&self) {}
    }

    #[test]
    fn a_text_message_is_escaped() {
        let lines = Mutex::default();
        let args = format_args!("a\r\nb\u{202e}\x1b[2J");
        let record = Record::builder().args(args).level(log::Level::Warn).target("kentros").build();
        PrintableLogger(RecordingLogger(&lines)).log(&record);
        assert_eq!(lines.into_inner().unwrap(), [r"WARN kentros a\r\nb\u202e\u001b[2J"]);
    }
}
