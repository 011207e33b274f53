//! The pending requests, in the poller and ordered by deadline.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::time::{Duration, Instant};

use super::http_loop::NewConnection;
use super::pending::{PendingRequest, RequestStage};
use crate::poller::{Poller, Readiness, Waker};

/// A response that takes longer than this is slow. Most take milliseconds.
pub(super) const SLOW_RESPONSE: Duration = Duration::from_secs(2);

pub(super) struct PendingTable {
    poller: Poller,
    next_id: u64,
    requests: HashMap<u64, PendingRequest>,
    deadlines: BTreeSet<(Instant, u64)>,
}

impl PendingTable {
    pub(super) fn new(poller: Poller) -> Self {
        Self { poller, next_id: 0, requests: HashMap::new(), deadlines: BTreeSet::new() }
    }

    pub(super) fn waker(&self) -> Waker {
        self.poller.waker()
    }

    /// Waits until a request's socket is ready or `deadline` has passed. Returns the ids of the
    /// ready requests.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> Vec<u64> {
        self.poller.wait(deadline)
    }

    pub(super) fn len(&self) -> usize {
        self.requests.len()
    }

    pub(super) fn get(&self, id: u64) -> Option<&PendingRequest> {
        self.requests.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut PendingRequest> {
        self.requests.get_mut(&id)
    }

    /// The earliest deadline and its request.
    pub(super) fn next_deadline(&self) -> Option<(Instant, u64)> {
        self.deadlines.first().copied()
    }

    /// The request whose response is being sent for the longest time, if it is slow and counts
    /// against the limit of memory. `write_timeout` is the time that a response has.
    pub(super) fn slowest_response(&self, now: Instant, write_timeout: Duration) -> Option<u64> {
        let counted = |id: &u64| {
            let stage = self.requests.get(id).map(|request| &request.stage);
            matches!(stage, Some(RequestStage::Write(response)) if response.is_counted())
        };
        let (deadline, id) = self.deadlines.iter().find(|(_, id)| counted(id))?;
        (*deadline + SLOW_RESPONSE <= now + write_timeout).then_some(*id)
    }

    /// Adds a connection whose head is still to be read. Returns its id.
    pub(super) fn insert(
        &mut self,
        connection: NewConnection,
        now: Instant,
        timeout: Duration,
        over_limit: bool,
    ) -> io::Result<u64> {
        let NewConnection { socket, peer, already_read } = connection;
        let id = self.next_id;
        self.next_id += 1;
        self.poller.add(&socket, id, Readiness::Read)?;
        let deadline = now + timeout;
        self.deadlines.insert((deadline, id));
        let stage =
            RequestStage::ReadHead { unparsed: !already_read.is_empty(), bytes: already_read };
        let request = PendingRequest { socket, peer, accepted: now, deadline, over_limit, stage };
        self.requests.insert(id, request);
        Ok(id)
    }

    pub(super) fn set_stage(
        &mut self,
        id: u64,
        stage: RequestStage,
        interest: Readiness,
        timeout: Duration,
    ) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        self.deadlines.remove(&(request.deadline, id));
        request.deadline = Instant::now() + timeout;
        request.stage = stage;
        self.deadlines.insert((request.deadline, id));
        let _ = self.poller.change(&request.socket, id, interest);
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<PendingRequest> {
        let request = self.requests.remove(&id)?;
        self.deadlines.remove(&(request.deadline, id));
        self.poller.remove(&request.socket);
        Some(request)
    }

    /// Closes all connections.
    pub(super) fn clear(&mut self) {
        self.requests.clear();
        self.deadlines.clear();
    }
}
