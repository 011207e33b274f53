//! Parsers for the values of flags. An error says what is expected.

use std::time::Duration;

pub(crate) fn parse_address(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
            Ok(text.to_owned())
        }
        _ => Err("expected HOST:PORT, for example 127.0.0.1:9001 or [::1]:9001".into()),
    }
}

/// Parses a base path and removes trailing slashes: `/` becomes the empty path.
pub(crate) fn parse_base_path(text: &str) -> Result<String, String> {
    let path = text.trim_end_matches('/');
    let allowed = |c: char| c.is_ascii_alphanumeric() || "/-._~%".contains(c);
    if text.starts_with('/') && path.chars().all(allowed) && !path.contains("//") {
        Ok(path.to_owned())
    } else {
        Err("expected a path that starts with a slash, for example /stats".into())
    }
}

pub(crate) fn parse_container_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=10_000) => Ok(n),
        _ => Err("expected a number of containers from 1 to 10000".into()),
    }
}

pub(crate) fn parse_client_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=12_000) => Ok(n),
        _ => Err("expected a number of clients from 1 to 12000".into()),
    }
}

pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim() {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        _ => 0.0,
    };
    let expected = || "expected a time from 100ms to 1h, for example 1s, 500ms or 2m".to_owned();
    let seconds = number.parse::<f64>().map_err(|_| expected())? * factor;
    if (0.1..=3600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(expected())
    }
}

/// Parses the URL of a stats socket.
pub(crate) fn parse_stats_url(text: &str) -> Result<String, String> {
    match text.split_once("://") {
        Some(("ws", _)) => Ok(text.to_owned()),
        Some(("wss", _)) => Err("wss:// is not supported. Use ws://, and on an untrusted network \
             a tunnel such as ssh -L"
            .into()),
        _ => {
            Err("expected the URL of a stats socket, for example ws://127.0.0.1:9001/ws/stats"
                .into())
        }
    }
}
