//! The threads of route handlers: one per request, a bounded number at a time.

use std::collections::{HashMap, VecDeque};
use std::thread::JoinHandle;

use crossbeam_channel::Sender;

use super::http_event::HttpEvent;
use super::routes::RouteHandler;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::status;
use crate::poller::Waker;
use crate::threads;

/// Maximum number of handlers that run at the same time.
const MAX_THREADS: usize = 64;

pub(super) struct RouteThreads {
    events: Sender<HttpEvent>,
    waker: Waker,
    running: HashMap<u64, JoinHandle<()>>,
    /// Bounded by the limit of concurrent requests.
    waiting: VecDeque<(u64, RouteHandler, Request)>,
}

impl RouteThreads {
    pub(super) fn new(events: Sender<HttpEvent>, waker: Waker) -> Self {
        Self { events, waker, running: HashMap::new(), waiting: VecDeque::new() }
    }

    /// Runs the handler of request `id`, as soon as a thread is free.
    pub(super) fn run(&mut self, id: u64, handler: RouteHandler, request: Request) {
        if self.running.len() >= MAX_THREADS {
            self.waiting.push_back((id, handler, request));
            return;
        }
        let (events, waker) = (self.events.clone(), self.waker.clone());
        let thread = threads::spawn("kentros-route", move || {
            let response = threads::guarded("a route", || handler(&request))
                .unwrap_or_else(Response::internal_error);
            // Drop the embedder's values before the thread counts as ended.
            drop((handler, request));
            HttpEvent::HandlerDone(id, response).send(&events, &waker);
        });
        match thread {
            Ok(thread) => {
                self.running.insert(id, thread);
            }
            Err(error) => {
                log::warn!("cannot spawn a thread for a route: {error}");
                let response = Response::line(
                    status::UNAVAILABLE,
                    "the server is out of threads; try again later",
                );
                HttpEvent::HandlerDone(id, response).send(&self.events, &self.waker);
            }
        }
    }

    /// Joins the thread of request `id`, and starts the next handler.
    pub(super) fn finished(&mut self, id: u64) {
        if let Some(thread) = self.running.remove(&id) {
            let _ = thread.join();
        }
        if let Some((id, handler, request)) = self.waiting.pop_front() {
            self.run(id, handler, request);
        }
    }

    /// Removes the request from the queue.
    pub(super) fn cancel(&mut self, id: u64) {
        self.waiting.retain(|(waiting, ..)| *waiting != id);
    }

    /// Starts no more handlers.
    pub(super) fn stop(&mut self) {
        self.waiting.clear();
    }

    pub(super) fn running(&self) -> usize {
        self.running.len()
    }
}
