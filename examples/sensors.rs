//! The sensors of this machine: a custom page, JSON over HTTP and a WebSocket.
//!
//! ```text
//! cargo run --example sensors -- --addr 127.0.0.1:9006
//! curl http://127.0.0.1:9006/sensors.json
//! websocat ws://127.0.0.1:9006/ws/sensors
//! ```

#![allow(clippy::print_stdout)] // An example prints its URL.

use std::time::Duration;
use std::{fs, thread};

use kentros::{
    Client, Hub, HubConfig, HubHandle, Incoming, Response, Server, ServerConfig, Session,
    SourceError,
};
use serde::Serialize;

/// The page is a single file with inline style and script.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[derive(Serialize)]
struct Sensors {
    uptime: f64,
    load: f64,
    /// `None` on a machine without a thermal zone, such as most virtual machines.
    temperature: Option<f64>,
}

impl Sensors {
    fn read() -> Result<Self, SourceError> {
        let millidegrees = first_number("/sys/class/thermal/thermal_zone0/temp");
        Ok(Self {
            uptime: first_number("/proc/uptime")?,
            load: first_number("/proc/loadavg")?,
            temperature: millidegrees.ok().map(|value| value / 1000.0),
        })
    }
}

fn first_number(path: &str) -> Result<f64, SourceError> {
    let text = fs::read_to_string(path)?;
    Ok(text.split_whitespace().next().ok_or_else(|| format!("{path} is empty"))?.parse()?)
}

/// A client that receives everything the hub publishes.
struct Viewer(HubHandle);

impl Session for Viewer {
    fn open(&mut self, client: &Client) {
        if let Err(error) = self.0.register(client) {
            client.close(1011, &error.to_string());
        }
    }

    fn message(&mut self, client: &Client, _: Incoming<'_>) {
        client.close(1003, "this WebSocket accepts no messages");
    }
}

fn main() -> Result<(), kentros::Error> {
    let addr = std::env::args().skip(1).find(|arg| arg != "--addr");
    let hub = Hub::spawn(HubConfig::default())?;
    // The sensors are read once a second for all clients, and not at all without clients.
    hub.handle().publish_every(Duration::from_secs(1), "sensors", Sensors::read)?;
    let handle = hub.handle();
    let config = ServerConfig::bare()
        .with_content_security_policy(POLICY)
        .page("/", "text/html; charset=utf-8", include_str!("sensors/index.html"))
        .route("/sensors.json", |_| match Sensors::read() {
            Ok(sensors) => Response::json(&sensors),
            Err(error) => Ok(Response::text(&error.to_string()).with_status(500)),
        })
        .sessions("/ws/sensors", move |_| Ok(Viewer(handle.clone())));
    let server = Server::bind(addr.as_deref().unwrap_or("127.0.0.1:9006"), hub.handle(), config)?;
    println!("listening on http://{}", server.local_addr());
    loop {
        thread::park();
    }
}
