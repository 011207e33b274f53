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

/// The longest base path, in bytes. It is part of every request, whose head may have 16 KiB.
const MAX_BASE: usize = 1_024;

/// Parses a base path and removes the trailing slash: `/` becomes the empty path.
pub(crate) fn parse_base_path(text: &str) -> Result<String, String> {
    let path = text.strip_suffix('/').unwrap_or(text);
    let allowed = |c: char| c.is_ascii_alphanumeric() || "/-._~%".contains(c);
    if !text.starts_with('/') || !path.chars().all(allowed) || text.contains("//") {
        return Err("expected a path that starts with a slash, for example /stats".into());
    }
    // Clients resolve these segments, also if they are encoded, and never request such a path.
    let is_dots = |segment: &str| matches!(&*segment.replace("%2e", "."), "." | "..");
    if path.to_ascii_lowercase().split('/').any(is_dots) {
        return Err("the segments . and .. are not allowed".into());
    }
    if path.len() > MAX_BASE {
        return Err(format!("expected a path of at most {MAX_BASE} bytes"));
    }
    Ok(path.to_owned())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_path_must_be_one_that_clients_can_request() {
        let longest = format!("/{}", "a".repeat(MAX_BASE - 1));
        for (text, path) in [
            ("/", ""),
            ("/stats", "/stats"),
            ("/stats/", "/stats"),
            ("/a/b.c/..d/%20", "/a/b.c/..d/%20"),
            (&longest, &longest),
            (&format!("{longest}/"), &longest),
        ] {
            assert_eq!(parse_base_path(text), Ok(path.to_owned()), "{text}");
        }
        let too_long = format!("{longest}a");
        for (text, part) in [
            ("", "starts with a slash"),
            ("stats", "starts with a slash"),
            ("//", "starts with a slash"),
            ("//evil.example", "starts with a slash"),
            ("/a//b", "starts with a slash"),
            ("/stats//", "starts with a slash"),
            ("/a b", "starts with a slash"),
            ("/a?b", "starts with a slash"),
            ("/..", "are not allowed"),
            ("/.", "are not allowed"),
            ("/a/../b", "are not allowed"),
            ("/a/./b/", "are not allowed"),
            ("/%2E%2e", "are not allowed"),
            ("/.%2e/a", "are not allowed"),
            (&too_long, "at most 1024 bytes"),
        ] {
            let error = parse_base_path(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
