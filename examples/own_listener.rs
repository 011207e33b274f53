//! A program with its own HTTP server, which hands WebSocket connections over to kentros.
//!
//! ```text
//! cargo run --example own_listener -- --addr 127.0.0.1:9007
//! websocat ws://127.0.0.1:9007/ws/echo
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr)] // An example prints its URL and errors.

use std::error::Error;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use kentros::{Connector, Hub, HubConfig, Incoming, Server, ServerConfig};

/// Path, content type and content of each file.
const FILES: [(&str, &str, &str); 2] = [
    ("/", "text/html; charset=utf-8", include_str!("own_listener/index.html")),
    ("/echo.js", "text/javascript; charset=utf-8", include_str!("own_listener/echo.js")),
];

/// The timeout of each read of the request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// The maximum size of the request head, bytes.
const MAX_HEAD: u64 = 16 * 1024;

/// Reads a request. Serves a file, or hands the connection over to kentros.
fn serve(stream: TcpStream, websockets: &Connector) -> Result<(), Box<dyn Error>> {
    stream.set_read_timeout(Some(HEAD_TIMEOUT))?;
    let mut reader = BufReader::new(stream.take(MAX_HEAD));
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Err("incomplete request head".into());
        }
    }
    // The client may have sent WebSocket frames right after the head.
    let already_read = [head.as_bytes(), reader.buffer()].concat();
    let mut stream = reader.into_inner().into_inner();
    let path = head.split(' ').nth(1).unwrap_or_default();
    if path.starts_with("/ws/") {
        websockets.serve(stream, already_read)?;
        return Ok(());
    }
    let file = FILES.iter().find(|(name, ..)| *name == path);
    let (status, content_type, body) = match file {
        Some((_, content_type, body)) => ("200 OK", *content_type, *body),
        None => ("404 Not Found", "text/plain; charset=utf-8", "not found\n"),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let addr = std::env::args().skip(1).find(|arg| arg != "--addr");
    let listener = TcpListener::bind(addr.as_deref().unwrap_or("127.0.0.1:9007"))?;
    let hub = Hub::spawn(HubConfig::default())?;
    let config = ServerConfig::bare().websocket("/ws/echo", |client, message| {
        if let Incoming::Text(text) = message {
            // Fails only if the client has disconnected.
            let _ = client.send_text(text);
        }
    });
    let server = Server::without_listener(hub.handle(), config)?;
    println!("listening on http://{}", listener.local_addr()?);
    for stream in listener.incoming() {
        // The client may have disconnected before it was accepted.
        let Ok(stream) = stream else { continue };
        let websockets = server.connector();
        // One thread per connection, so that a slow client does not delay others.
        thread::spawn(move || {
            if let Err(error) = serve(stream, &websockets) {
                eprintln!("error: {error}");
            }
        });
    }
    Ok(())
}
