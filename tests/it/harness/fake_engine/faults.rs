//! The ways in which a call to the fake engine fails.

use std::io::{self, Write};
use std::time::Instant;

use super::GUARD;
use super::server::Connection;
use super::streams::endless;

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Never responds.
    Hang,
    /// Responds as usual once the fault is healed.
    Wait,
    /// Sends the head and half a body, and then nothing.
    HangMidBody,
    /// Sends half a body and closes the connection.
    Cut,
    /// Sends a body that is not JSON.
    Garbage,
    /// Sends bytes that are not HTTP.
    NoHttp,
    /// Sends status 200 with an empty body.
    Empty,
    /// Sends a body that never ends.
    Endless,
    /// Sends this status.
    Status(u16),
    /// Sends this status with this message.
    Message(u16, &'static str),
}

impl Connection<'_> {
    pub(super) fn fail(&self, fault: Fault) -> io::Result<()> {
        let mut stream = &**self.stream;
        match fault {
            Fault::Hang | Fault::Wait => self.hang(),
            Fault::HangMidBody => {
                self.half_a_body()?;
                self.hang()
            }
            Fault::Cut => {
                self.half_a_body()?;
                Err(io::ErrorKind::Other.into())
            }
            Fault::Garbage => self.json(200, "{\"read\": garbage}}\n"),
            Fault::NoHttp => {
                stream.write_all(b"\x15\x03\x01\x00\x02\x02\x16 not HTTP\r\n\r\n")?;
                Err(io::ErrorKind::Other.into())
            }
            Fault::Empty => self.json(200, ""),
            Fault::Endless => {
                self.head(200, "Transfer-Encoding: chunked\r\n")?;
                endless(stream)
            }
            Fault::Status(status) => {
                self.json(status, "{\"message\":\"an error of the fake engine\"}\n")
            }
            Fault::Message(status, message) => {
                self.json(status, &format!("{}\n", serde_json::json!({ "message": message })))
            }
        }
    }

    fn half_a_body(&self) -> io::Result<()> {
        self.head(200, "Content-Length: 1000\r\n")?;
        let mut stream = &**self.stream;
        stream.write_all(b"{\"read\":\"2026-")
    }

    /// Sends nothing more. Closes the connection after [`GUARD`], so that a client that waits
    /// without a timeout fails its test instead of hanging.
    fn hang(&self) -> io::Result<()> {
        let deadline = Instant::now() + GUARD;
        drop(self.wait(|_| Instant::now() > deadline)?);
        Err(io::ErrorKind::TimedOut.into())
    }
}
