//! The log, on stderr, as text or JSON.

use std::io::{self, IsTerminal as _, Write as _};

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
            TermLogger::init(level, config, TerminalMode::Stderr, color)
        }
        LogFormat::Json => {
            log::set_max_level(level);
            log::set_boxed_logger(Box::new(JsonLogger))
        }
    };
    // Fails only if a logger is already set, and nothing else sets one.
    debug_assert!(started.is_ok());
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
    format!("{line}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_with_a_newline_is_one_json_line() {
        let args = format_args!("a \"b\"\nc");
        let record = Record::builder().args(args).level(log::Level::Warn).target("kentros").build();
        let line = json_line(&record, OffsetDateTime::UNIX_EPOCH);
        assert_eq!(line.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["message"], "a \"b\"\nc");
        assert_eq!(value["timestamp"], "1970-01-01T00:00:00Z");
        assert_eq!(value["level"], "warn");
    }
}
