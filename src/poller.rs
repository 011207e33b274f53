//! Readiness of many sockets for one thread: epoll and a way to wake it.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};

/// The token of the waker; no socket has it.
const WAKE: u64 = u64::MAX;
/// Events taken from the kernel at a time.
const EVENTS: usize = 64;

/// What a socket is waited for. An error or a hang-up is always reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    Read,
    Write,
    /// Only the end of the connection.
    End,
    /// Nothing, for a socket that is in no poller.
    Nothing,
}

/// A set of sockets, each under a token, of which one thread awaits readiness.
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
        // It can fail only where the counter is full, and then the poller wakes in any case.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let waker = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        epoll::add(&epoll, &waker, EventData::new_u64(WAKE), EventFlags::IN)?;
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
        // Already gone is as good.
        let _ = epoll::delete(&self.epoll, fd);
    }

    /// Waits until a socket is ready, the waker is called or `deadline` is past; `None` waits for
    /// ever. Yields the tokens of the ready sockets.
    pub(crate) fn wait(&self, deadline: Option<Instant>) -> Vec<u64> {
        let timeout = deadline.map(|deadline| {
            // A millisecond more: waking just before a deadline would mean waking twice.
            let left = deadline.saturating_duration_since(Instant::now());
            Timespec::try_from(left + Duration::from_millis(1)).unwrap_or_default()
        });
        let mut buffer = [MaybeUninit::uninit(); EVENTS];
        let events = match epoll::wait(&self.epoll, &mut buffer, timeout.as_ref()) {
            Ok((events, _)) => &*events,
            // EINTR is the only error that a valid epoll descriptor gives.
            Err(_) => return Vec::new(),
        };
        let mut ready = Vec::with_capacity(events.len());
        for event in events {
            match event.data.u64() {
                WAKE => {
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
