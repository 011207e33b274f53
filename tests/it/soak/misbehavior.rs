//! Clients that stall, flood, send garbage or break the connection. Each method returns an error if
//! the server did what it must not.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;
use tungstenite::{Error as Fault, Message};

use super::crowd::Place;
use super::socket::{
    HEAD, catches_up, connect, dial, dial_narrow, find, is_timeout, read_response, send, websocket,
};
use super::{GUARD, pause};

impl Place {
    /// Changes its subscriptions at random. Each reply must match the request, and only rows of the
    /// subscribed projects may arrive.
    pub(super) fn changes_subscriptions(&mut self) -> Result<(), String> {
        let mut socket = connect(self.addr, dial)?;
        let mut mine: BTreeSet<String> = BTreeSet::new();
        for _ in 0..self.rng.u64(..10) {
            let project = ["p0", "p1", "p2", "p3", "_standalone"][self.rng.usize(..5)];
            let (kind, answer) = match self.rng.u64(..4) {
                0 => {
                    send(&mut socket, "history", json!({"seconds": 1 + self.rng.u64(..300)}))?;
                    find(&mut socket, "history", &mine)?;
                    continue;
                }
                1 => {
                    send(&mut socket, "history", json!({"seconds": "x".repeat(100)}))?;
                    find(&mut socket, "error", &mine)?;
                    continue;
                }
                2 => {
                    mine.remove(project);
                    ("unsubscribe", "unsubscribed")
                }
                _ => {
                    mine.insert(project.to_owned());
                    ("subscribe", "subscribed")
                }
            };
            send(&mut socket, kind, json!([project]))?;
            let got = find(&mut socket, answer, &BTreeSet::new())?;
            if got["payload"] != json!(mine) {
                return Err(format!("{project}: expected {mine:?}, got {got}"));
            }
            self.wait(1_000);
        }
        Ok(())
    }

    /// Stops reading for a while, sometimes after requests for long histories. Returns whether it was
    /// evicted.
    pub(super) fn stalls(&mut self) -> Result<bool, String> {
        let mut socket = connect(self.addr, dial_narrow)?;
        if self.rng.bool() {
            // A view of its own.
            let invented = format!("invented-{}", self.rng.u64(..));
            send(&mut socket, "subscribe", json!(["p0", "p1", "p2", "p3", invented]))?;
            find(&mut socket, "subscribed", &BTreeSet::new())?;
        }
        if self.rng.u64(..4) == 0 {
            // Late in a full-length round these replies are more than the socket buffers hold. With
            // the later requests they are as many as the rate limit lets through at once.
            for _ in 0..38 {
                if send(&mut socket, "history", json!({"seconds": 300})).is_err() {
                    return Ok(true);
                }
            }
        }
        self.wait(40_000);
        catches_up(&mut socket)
    }

    /// Sends its request head and reads the response one byte at a time. Returns whether it was
    /// evicted.
    pub(super) fn drips(&mut self) -> Result<bool, String> {
        let stream = dial_narrow(self.addr).map_err(|error| format!("connecting: {error}"))?;
        for byte in HEAD.as_bytes() {
            if (&stream).write_all(&[*byte]).is_err() {
                return Ok(false);
            }
            pause(Duration::from_millis(self.rng.u64(..20)));
        }
        let mut read = Vec::new();
        for _ in 0..self.rng.u64(..300) {
            let mut byte = [0];
            match (&stream).read(&mut byte) {
                Ok(1) => read.extend(byte),
                _ => break,
            }
            self.wait(40);
        }
        match read_response(&stream, read) {
            Ok(rest) => catches_up(&mut websocket(stream, rest)),
            // The head took too long.
            Err(_) => Ok(false),
        }
    }

    /// Resets the connection.
    pub(super) fn resets(&mut self) -> Result<(), String> {
        let reset_on_close = |stream: &TcpStream| {
            rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO)).unwrap();
        };
        if self.rng.u64(..2) == 0 {
            reset_on_close(connect(self.addr, dial)?.get_ref());
        } else {
            let stream = dial(self.addr).map_err(|error| format!("connecting: {error}"))?;
            reset_on_close(&stream);
            let _ = (&stream).write_all(b"GET /ws/stats HT");
            self.wait(500);
        }
        Ok(())
    }

    /// Sends bytes that are not HTTP.
    pub(super) fn sends_garbage(&mut self) -> Result<(), String> {
        let mut stream = dial(self.addr).map_err(|error| format!("connecting: {error}"))?;
        let _ = stream.write_all(&self.garbage());
        self.read_to_the_end(&mut stream);
        Ok(())
    }

    /// Sends bytes that are not frames.
    pub(super) fn sends_garbage_frames(&mut self) -> Result<(), String> {
        let mut socket = connect(self.addr, dial)?;
        let stream = socket.get_mut();
        for _ in 0..self.rng.u64(..5) {
            let _ = stream.write_all(&self.garbage());
            self.wait(100);
        }
        self.read_to_the_end(stream);
        Ok(())
    }

    fn read_to_the_end(&mut self, stream: &mut TcpStream) {
        let end = Instant::now() + Duration::from_millis(self.rng.u64(..8_000));
        let mut buffer = [0; 4096];
        while Instant::now() < end && !self.is_over() {
            match stream.read(&mut buffer) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if is_timeout(&error) => {}
                Err(_) => return,
            }
        }
    }

    /// Sends requests until the server closes the connection for it.
    pub(super) fn floods(&mut self) -> Result<(), String> {
        // Frames with the text `{}` and a mask of zero.
        const FRAMES: [[u8; 8]; 100] = [[0x81, 0x82, 0, 0, 0, 0, b'{', b'}']; 100];
        let mut socket = connect(self.addr, dial)?;
        let begun = Instant::now();
        loop {
            // If the server has closed the connection, its Close can still be read.
            let _ = socket.get_mut().write_all(FRAMES.as_flattened());
            match socket.read() {
                Ok(Message::Close(Some(close))) if close.reason == "too many messages" => {
                    return match u16::from(close.code) {
                        1008 => Ok(()),
                        _ => Err(format!("{close:?}")),
                    };
                }
                Ok(Message::Close(close)) => return Err(format!("closed: {close:?}")),
                Ok(_) | Err(Fault::Io(_)) if begun.elapsed() < GUARD => {}
                Ok(_) | Err(Fault::Io(_)) => return Err("the flood was not stopped".to_owned()),
                Err(error) => return Err(format!("expected a Close, got {error}")),
            }
        }
    }

    /// Connects and disconnects.
    pub(super) fn reconnects(&mut self) -> Result<(), String> {
        for _ in 0..self.rng.u64(..20) {
            drop(connect(self.addr, dial)?);
        }
        Ok(())
    }

    fn garbage(&mut self) -> Vec<u8> {
        let length = 1 + self.rng.usize(..300);
        (0..length).map(|_| self.rng.u8(..)).collect()
    }
}
