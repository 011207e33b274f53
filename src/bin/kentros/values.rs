//! The values of flags: each from its text, or a sentence about what is wanted.

use std::time::Duration;

pub(crate) fn address(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
            Ok(text.to_owned())
        }
        _ => Err("HOST:PORT is wanted, as in 127.0.0.1:9001 or [::1]:9001".into()),
    }
}

/// A path as it stands in an address: `/path`, without the slash behind it; `/` is no path.
pub(crate) fn base(text: &str) -> Result<String, String> {
    let path = text.trim_end_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-._~%".contains(c);
    if text.starts_with('/') && path.chars().all(plain) && !path.contains("//") {
        Ok(path.to_owned())
    } else {
        Err("a path is wanted, as in /stats".into())
    }
}

pub(crate) fn containers(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=10_000) => Ok(n),
        _ => Err("a number of containers from 1 to 10000 is wanted".into()),
    }
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit.trim() {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        _ => 0.0,
    };
    let wanted = || "a time from 100ms to 1h is wanted, as in 1s, 500ms or 2m".to_owned();
    let time = number.parse::<f64>().map_err(|_| wanted())? * seconds;
    if (0.1..=3600.0).contains(&time) { Ok(Duration::from_secs_f64(time)) } else { Err(wanted()) }
}

/// The address of a hub's stats socket.
pub(crate) fn url(text: &str) -> Result<String, String> {
    match text.split_once("://") {
        Some(("ws", _)) => Ok(text.to_owned()),
        Some(("wss", _)) => Err("wss:// is not spoken here: ws:// is, through a tunnel such as \
             ssh -L where the way there is not trusted"
            .into()),
        _ => Err("a stats socket is wanted, as in ws://127.0.0.1:9001/ws/stats".into()),
    }
}

pub(crate) fn clients(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=12_000) => Ok(n),
        _ => Err("a number of clients from 1 to 12000 is wanted".into()),
    }
}
