//! Clients that attack the server over HTTP, most of them without reading. Each method returns an
//! error if the server did what it must not.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use super::GUARD;
use super::crowd::Place;
use super::socket::{HEAD_TIMEOUT, TOKEN, dial, dial_narrow};

impl Place {
    /// Requests large responses and does not read them.
    pub(super) fn leaves_responses_unread(&mut self) -> Result<(), String> {
        let mut unread = Vec::new();
        for _ in 0..=self.rng.usize(..3) {
            let path = ["/metrics", "/api/v1/stats"][self.rng.usize(..2)];
            let stream = dial_narrow(self.addr).map_err(|error| format!("connecting: {error}"))?;
            let head = format!(
                "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
            );
            let _ = (&stream).write_all(head.as_bytes());
            unread.push(stream);
        }
        self.wait(15_000);
        Ok(())
    }

    /// Requests `/readyz` in a loop.
    pub(super) fn probes(&mut self) -> Result<(), String> {
        for _ in 0..self.rng.u64(..50) {
            if self.is_over() {
                break;
            }
            expect(&request(self.addr, "GET /readyz", "", "")?, &["200", "503"])?;
        }
        Ok(())
    }

    /// Sends wrong tokens from one address of many, as a proxy reports it.
    pub(super) fn guesses_tokens(&mut self) -> Result<(), String> {
        let from = format!("X-Forwarded-For: 10.0.{}.{}\r\n", self.rng.u8(..), self.rng.u8(..));
        for guess in 0..self.rng.u64(..20) {
            let token = format!("not-the-token-{guess}");
            let answer = if self.rng.bool() {
                request(self.addr, "POST /login", &from, &format!("token={token}"))?
            } else {
                let fields = format!("{from}Authorization: Bearer {token}\r\n");
                request(self.addr, "GET /api/v1/stats", &fields, "")?
            };
            expect(&answer, &["401", "403", "429"])?;
        }
        Ok(())
    }

    /// Requests a path of many slashes, which must not redirect to another host.
    pub(super) fn sends_slashes(&mut self) -> Result<(), String> {
        let path = "/".repeat(1 + self.rng.usize(..16_000));
        let fields = format!("Authorization: Bearer {TOKEN}\r\n");
        let answer = request(self.addr, &format!("GET {path}"), &fields, "")?;
        let away = answer.to_ascii_lowercase().contains("\r\nlocation: //");
        if away { Err(answer) } else { expect(&answer, &["200", "3", "404"]) }
    }
}

/// Sends a request and reads the response, of which the first 1,024 bytes are returned. Retries if
/// this client took longer to send it than the server waits.
pub(super) fn request(
    addr: SocketAddr,
    line: &str,
    fields: &str,
    body: &str,
) -> Result<String, String> {
    let length = body.len();
    let request = format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
    );
    let begun = Instant::now();
    loop {
        let asked = Instant::now();
        let mut stream = dial(addr).map_err(|error| format!("connecting: {error}"))?;
        let sent = stream.write_all(request.as_bytes());
        let late = asked.elapsed() >= HEAD_TIMEOUT;
        let mut answer = Vec::new();
        let read = (&stream).take(1024).read_to_end(&mut answer);
        match sent.and(read) {
            _ if late && begun.elapsed() < GUARD => {}
            Ok(_) => return Ok(String::from_utf8_lossy(&answer).into_owned()),
            Err(error) => return Err(format!("{line:.40}: {error}, after {}", answer.len())),
        }
    }
}

/// Fails unless the status starts with one of these.
pub(super) fn expect(answer: &str, statuses: &[&str]) -> Result<(), String> {
    let status = answer.strip_prefix("HTTP/1.1 ").unwrap_or_default();
    let expected = statuses.iter().any(|expected| status.starts_with(expected));
    if expected { Ok(()) } else { Err(format!("expected {statuses:?}, got {answer:.200}")) }
}
