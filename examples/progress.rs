//! Live progress of CI jobs. Each user sees only their own projects. Log in with the token `ann-5f1c`
//! or `ben-90e2`.
//!
//! ```text
//! cargo run --example progress -- --addr 127.0.0.1:9005
//! websocat --header 'Authorization: Bearer ann-5f1c' ws://127.0.0.1:9005/ws/progress/shop
//! ```

#![allow(clippy::print_stdout)] // An example prints its URL.

use std::thread;
use std::time::Duration;

use kentros::{
    Client, Error, Hub, HubConfig, HubHandle, Incoming, Interest, Message, Request, Response,
    Server, ServerConfig, Session,
};
use serde::Serialize;

#[derive(Serialize)]
struct User {
    #[serde(skip)]
    token: &'static str,
    name: &'static str,
    projects: &'static [&'static str],
}

/// A real server would query a database: the closures of `sessions` and `route` may block.
const USERS: [User; 2] = [
    User { token: "ann-5f1c", name: "ann", projects: &["shop", "docs"] },
    User { token: "ben-90e2", name: "ben", projects: &["docs"] },
];

/// Finds the user by a bearer token or a cookie. Browsers cannot send a bearer token with a
/// WebSocket request.
fn authenticate(request: &Request) -> Result<&'static User, Response> {
    let bearer = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let token = bearer.or_else(|| request.cookie("token"));
    USERS.iter().find(|user| Some(user.token) == token).ok_or_else(|| {
        let refused = Response::text("unknown token\n").with_status(401);
        refused.with_header("WWW-Authenticate", "Bearer")
    })
}

/// A client that receives the messages of one project.
struct Viewer {
    hub: HubHandle,
    interest: Interest,
}

impl Viewer {
    fn new(hub: &HubHandle, request: &Request) -> Result<Self, Response> {
        let (user, project) = (authenticate(request)?, request.tail());
        if !user.projects.contains(&project) {
            let refused = format!("{} has no access to this project\n", user.name);
            return Err(Response::text(&refused).with_status(403));
        }
        Ok(Self { hub: hub.clone(), interest: Interest::only([project]) })
    }
}

impl Session for Viewer {
    fn open(&mut self, client: &Client) {
        if let Err(error) = self.hub.register_with(client, self.interest.clone()) {
            client.close(1011, &error.to_string());
        }
    }

    fn message(&mut self, client: &Client, _: Incoming<'_>) {
        client.close(1003, "this WebSocket accepts no messages");
    }
}

#[derive(Serialize)]
struct Job {
    name: &'static str,
    percent: u32,
}

/// Simulates a CI system that builds and tests each project repeatedly.
fn run_jobs(hub: &HubHandle) -> Result<(), Error> {
    for step in (0..=25).cycle() {
        for project in ["shop", "docs"] {
            for (name, speed) in [("build", 10), ("test", 4)] {
                let percent = step * speed;
                if percent > 100 {
                    continue;
                }
                // A state: the latest of each job is retained for clients that connect later.
                let job = Message::new("job", Job { name, percent }).latest_of(name);
                hub.broadcast_to_subscribers(project, &job)?;
                // An event: only clients that are connected now receive a log line.
                let line = format!("{name}: step {step} done");
                hub.broadcast_to_subscribers(project, &Message::new("log", line))?;
            }
        }
        thread::sleep(Duration::from_millis(500));
    }
    Ok(())
}

fn main() -> Result<(), Error> {
    let addr = std::env::args().skip(1).find(|arg| arg != "--addr");
    let hub = Hub::spawn(HubConfig::default())?;
    let (viewers, jobs) = (hub.handle(), hub.handle());
    let config = ServerConfig::bare()
        .page("/", "text/html; charset=utf-8", include_str!("progress/index.html"))
        .page(
            "/progress.js",
            "text/javascript; charset=utf-8",
            include_str!("progress/progress.js"),
        )
        .route("/user", |request| Ok::<_, Response>(Response::json(authenticate(request)?)?))
        .sessions("/ws/progress/*", move |request| Viewer::new(&viewers, request));
    let server = Server::bind(addr.as_deref().unwrap_or("127.0.0.1:9005"), hub.handle(), config)?;
    println!("listening on http://{}", server.local_addr());
    let ci = thread::spawn(move || run_jobs(&jobs));
    // Returns only on an error.
    ci.join().unwrap_or(Ok(()))
}
