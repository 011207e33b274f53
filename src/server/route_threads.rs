//! The threads of computed routes: one each, a bounded number at a time.

use std::collections::{HashMap, VecDeque};
use std::thread::JoinHandle;

use crossbeam_channel::Sender;

use super::event::Event;
use super::routes::Compute;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::status;
use crate::poller::Waker;
use crate::threads;

/// Routes computed at a time.
const MOST: usize = 64;

pub(super) struct RouteThreads {
    events: Sender<Event>,
    waker: Waker,
    running: HashMap<u64, JoinHandle<()>>,
    /// Bounded by the requests there may be at a time.
    waiting: VecDeque<(u64, Compute, Request)>,
}

impl RouteThreads {
    pub(super) fn new(events: Sender<Event>, waker: Waker) -> Self {
        Self { events, waker, running: HashMap::new(), waiting: VecDeque::new() }
    }

    /// Computes the response of the request with this number, now or when a thread is free.
    pub(super) fn compute(&mut self, id: u64, compute: Compute, request: Request) {
        if self.running.len() >= MOST {
            self.waiting.push_back((id, compute, request));
            return;
        }
        let (events, waker) = (self.events.clone(), self.waker.clone());
        let thread = threads::spawn("kentros-route", move || {
            let response = threads::guarded("a route", || compute(&request)).unwrap_or_else(|| {
                Response::line(status::INTERNAL_ERROR, "internal server error: the log says why")
            });
            // What the closure holds goes before the end is told.
            drop((compute, request));
            Event::Computed(id, response).send(&events, &waker);
        });
        match thread {
            Ok(thread) => {
                self.running.insert(id, thread);
            }
            Err(error) => {
                log::warn!("no thread for a route: {error}");
                let response = Response::line(status::UNAVAILABLE, "no thread: try again later");
                Event::Computed(id, response).send(&self.events, &self.waker);
            }
        }
    }

    /// The thread of this request is at its end; the next one may begin.
    pub(super) fn ended(&mut self, id: u64) {
        if let Some(thread) = self.running.remove(&id) {
            let _ = thread.join();
        }
        if let Some((id, compute, request)) = self.waiting.pop_front() {
            self.compute(id, compute, request);
        }
    }

    /// The request is over before its turn.
    pub(super) fn forget(&mut self, id: u64) {
        self.waiting.retain(|(waiting, ..)| *waiting != id);
    }

    /// Begins nothing more.
    pub(super) fn stop(&mut self) {
        self.waiting.clear();
    }

    pub(super) fn running(&self) -> usize {
        self.running.len()
    }
}
