//! Readiness of many sockets for one thread, with epoll.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};

/// The token of the waker; no socket uses it.
const WAKE_TOKEN: u64 = u64::MAX;
/// Maximum number of events per call to `epoll_wait(2)`.
const MAX_EVENTS: usize = 64;

/// What to wait for on a socket. Errors and hang-ups are always reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    Read,
    Write,
    /// Only the end of the connection.
    End,
    /// Nothing: the socket is not in a poller.
    Nothing,
}

/// A set of sockets, each with a token.
#[derive(Debug)]
pub(crate) struct Poller {
    epoll: OwnedFd,
    waker: Waker,
}

/// Wakes a [`Poller`] from any thread.
#[derive(Clone, Debug)]
pub(crate) struct Waker(Arc<OwnedFd>);

impl Waker {
    pub(crate) fn wake(&self) {
        // This fails only if the counter is full, and then the poller wakes anyway.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let waker = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        epoll::add(&epoll, &waker, EventData::new_u64(WAKE_TOKEN), EventFlags::IN)?;
        Ok(Self { epoll, waker: Waker(waker) })
    }

    pub(crate) fn waker(&self) -> Waker {
        self.waker.clone()
    }

    pub(crate) fn add(&self, fd: impl AsFd, token: u64, interest: Readiness) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, fd, EventData::new_u64(token), interest.flags())?)
    }

    pub(crate) fn change(&self, fd: impl AsFd, token: u64, interest: Readiness) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, fd, EventData::new_u64(token), interest.flags())?)
    }

    pub(crate) fn remove(&self, fd: impl AsFd) {
        // An error means that it is not in the set.
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Waits until a socket is ready, the waker is called or `deadline` has passed. Returns the
    /// tokens of the ready sockets.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> Vec<u64> {
        let timeout = deadline.map(|deadline| {
            // One millisecond later: waking just before the deadline would mean waking twice.
            let left = deadline.saturating_duration_since(Instant::now());
            Timespec::try_from(left + Duration::from_millis(1)).unwrap_or_default()
        });
        let mut buffer = [MaybeUninit::uninit(); MAX_EVENTS];
        let events = match epoll::wait(&self.epoll, &mut buffer, timeout.as_ref()) {
            Ok((events, _)) => &*events,
            // With a valid epoll descriptor, the only possible error is EINTR.
            Err(_) => return Vec::new(),
        };
        let mut ready = Vec::with_capacity(events.len());
        for event in events {
            match event.data.u64() {
                WAKE_TOKEN => {
                    let _ = rustix::io::read(&self.waker.0, &mut [0; 8]);
                }
                token => ready.push(token),
            }
        }
        ready
    }
}

impl Readiness {
    fn flags(self) -> EventFlags {
        match self {
            Self::Read => EventFlags::IN,
            Self::Write => EventFlags::OUT,
            Self::End | Self::Nothing => EventFlags::empty(),
        }
    }
}
