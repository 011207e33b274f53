//! A load on a running server: how many messages its clients receive, and how they end.

use std::io;
use std::net::ToSocketAddrs;
use std::time::{Duration, Instant};

use crate::load::{Load, Target};

/// `ws://host:port/path`.
pub fn target(url: &str) -> Result<Target, String> {
    let rest = url.strip_prefix("ws://").ok_or("the URL must begin with ws://")?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let addr = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    let found = addr.to_socket_addrs().map_err(|error| format!("{addr}: {error}"))?.next();
    let addr = found.ok_or_else(|| format!("{addr} has no address"))?;
    let path = if path.is_empty() { "/" } else { path };
    Ok(Target { addr, host: host.to_owned(), path: path.to_owned() })
}

/// Connects `clients` and prints for `seconds` what they receive in each second.
pub fn watch(target: Target, clients: usize, say: Option<&str>, seconds: f64) -> io::Result<()> {
    let mut load = Load::new(target)?;
    let took = load.connect(clients)?;
    println!("{} of {clients} clients connected in {:.2} s", load.open(), took.as_secs_f64());
    if let Some(text) = say {
        load.say(|_| text.to_owned());
    }
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    println!("{:>12} {:>10} {:>8} {:>8}  ended", "messages/s", "MiB/s", "pings", "open");
    while Instant::now() < end {
        load.record.clear();
        let start = Instant::now();
        load.run((start + Duration::from_secs(1)).min(end), |_| false)?;
        let (record, took) = (&load.record, start.elapsed().as_secs_f64());
        println!(
            "{:>12.0} {:>10.2} {:>8} {:>8}  {}",
            record.deliveries as f64 / took,
            record.bytes as f64 / took / f64::from(1 << 20),
            record.pings,
            load.open(),
            if record.ends.is_empty() { "-".into() } else { format!("{:?}", record.ends) },
        );
    }
    Ok(())
}
