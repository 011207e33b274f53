//! Who is connected and wants what: pure, no threads, no sockets, no clock.
//!
//! Clients that want the same projects share a *view*: what they are sent is put together once
//! for all of them. Each client sits in one *shard*, the part of the fan-out that one thread does,
//! and stays there, so its messages keep their order.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::demand::Demand;

/// The most projects one client may subscribe to, where nothing else is said.
pub(crate) const MAX_SUBSCRIPTIONS: usize = 256;

/// The most projects that a demand names. To put more together at each subscription would keep
/// the hub from its work, and who asks for so many asks for about all there is.
const MAX_DEMAND: usize = 256;

pub(crate) type ViewId = u64;

/// A set of projects that at least one client wants; empty: every project.
pub(crate) type Projects = BTreeSet<String>;

/// The clients and their subscriptions; `C` is how a client is reached.
#[derive(Debug)]
pub(crate) struct Registry<C> {
    seats: HashMap<u64, Seat>,
    views: BTreeMap<ViewId, View>,
    by_projects: HashMap<Projects, ViewId>,
    next_view: ViewId,
    shards: Vec<Shard<C>>,
    /// How many views want each project.
    wanted: BTreeMap<String, usize>,
    max_subscriptions: usize,
}

/// Where a client is found.
#[derive(Clone, Copy, Debug)]
struct Seat {
    shard: usize,
    view: ViewId,
    /// Its place among the shard's members of the view.
    index: usize,
}

#[derive(Debug)]
struct View {
    projects: Projects,
    members: usize,
}

/// The clients that one thread delivers to.
#[derive(Debug)]
pub(crate) struct Shard<C> {
    groups: HashMap<ViewId, Vec<(u64, C)>>,
    len: usize,
}

/// More subscriptions than a client may have.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

impl<C> Default for Shard<C> {
    fn default() -> Self {
        Self { groups: HashMap::new(), len: 0 }
    }
}

impl<C> Shard<C> {
    /// The members of each view, with their ids.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (ViewId, &[(u64, C)])> {
        self.groups.iter().map(|(&view, members)| (view, members.as_slice()))
    }
}

/// Whether a client of the view gets what concerns `project`.
pub(crate) fn receives(view: &Projects, project: &str) -> bool {
    view.is_empty() || view.contains(project)
}

impl<C> Registry<C> {
    /// A registry whose clients are spread over `shards`, at least one.
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            seats: HashMap::new(),
            views: BTreeMap::new(),
            by_projects: HashMap::new(),
            next_view: 0,
            shards: (0..shards.max(1)).map(|_| Shard::default()).collect(),
            wanted: BTreeMap::new(),
            max_subscriptions: MAX_SUBSCRIPTIONS,
        }
    }

    /// The same with so many subscriptions for each client.
    pub(crate) fn allowing(self, max_subscriptions: usize) -> Self {
        Self { max_subscriptions, ..self }
    }

    pub(crate) fn max_subscriptions(&self) -> usize {
        self.max_subscriptions
    }

    pub(crate) fn len(&self) -> usize {
        self.seats.len()
    }

    /// Adds a client that wants every project; `false` where it is in already.
    pub(crate) fn add(&mut self, id: u64, client: C) -> bool {
        if self.seats.contains_key(&id) {
            return false;
        }
        let smallest = self.shards.iter().enumerate().min_by_key(|(_, shard)| shard.len);
        let shard = smallest.map_or(0, |(i, _)| i);
        self.sit(id, client, shard, Projects::new());
        true
    }

    /// Removes a client; `None` where it is not in.
    pub(crate) fn remove(&mut self, id: u64) -> Option<C> {
        self.rise(id).map(|(client, _, _)| client)
    }

    pub(crate) fn get(&self, id: u64) -> Option<&C> {
        let seat = self.seats.get(&id)?;
        let group = self.shards.get(seat.shard)?.groups.get(&seat.view)?;
        group.get(seat.index).map(|(_, client)| client)
    }

    /// What the client subscribed to; empty: every project.
    pub(crate) fn projects(&self, id: u64) -> Option<&Projects> {
        self.view(self.seats.get(&id)?.view)
    }

    /// Subscribes a client to more projects.
    ///
    /// # Errors
    /// If there would be too many; then nothing changes.
    pub(crate) fn subscribe(&mut self, id: u64, more: &[String]) -> Result<(), TooMany> {
        let Some(mut projects) = self.projects(id).cloned() else { return Ok(()) };
        projects.extend(more.iter().cloned());
        if projects.len() > self.max_subscriptions {
            return Err(TooMany);
        }
        self.change(id, projects);
        Ok(())
    }

    /// Ends subscriptions of a client. Without any it gets every project again.
    pub(crate) fn unsubscribe(&mut self, id: u64, less: &[String]) {
        let Some(mut projects) = self.projects(id).cloned() else { return };
        for project in less {
            projects.remove(project);
        }
        self.change(id, projects);
    }

    fn change(&mut self, id: u64, projects: Projects) {
        if self.projects(id) == Some(&projects) {
            return;
        }
        if let Some((client, shard, _)) = self.rise(id) {
            self.sit(id, client, shard, projects);
        }
    }

    /// The views that have a client.
    pub(crate) fn views(&self) -> impl Iterator<Item = (ViewId, &Projects)> {
        self.views.iter().map(|(&id, view)| (id, &view.projects))
    }

    fn view(&self, id: ViewId) -> Option<&Projects> {
        self.views.get(&id).map(|view| &view.projects)
    }

    /// The shards, for the fan-out: taken out for its time and put back by
    /// [`return_shards`](Self::return_shards).
    pub(crate) fn take_shards(&mut self) -> Vec<Shard<C>> {
        std::mem::take(&mut self.shards)
    }

    pub(crate) fn return_shards(&mut self, shards: Vec<Shard<C>>) {
        self.shards = shards;
    }

    /// Removes and yields every client.
    pub(crate) fn drain(&mut self) -> Vec<C> {
        let ids: Vec<u64> = self.seats.keys().copied().collect();
        ids.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    /// What all clients together want; `None` where there is no client.
    pub(crate) fn demand(&self) -> Option<Demand> {
        if self.views.is_empty() {
            None
        } else if self.by_projects.contains_key(&Projects::new()) || self.wanted.len() > MAX_DEMAND
        {
            Some(Demand::all())
        } else {
            Some(Demand::only(self.wanted.keys()))
        }
    }

    fn sit(&mut self, id: u64, client: C, shard: usize, projects: Projects) {
        let view = self.join_view(projects);
        let Some(seats) = self.shards.get_mut(shard) else { return };
        let group = seats.groups.entry(view).or_default();
        let index = group.len();
        group.push((id, client));
        seats.len += 1;
        self.seats.insert(id, Seat { shard, view, index });
    }

    fn rise(&mut self, id: u64) -> Option<(C, usize, ViewId)> {
        let seat = self.seats.remove(&id)?;
        let shard = self.shards.get_mut(seat.shard)?;
        let group = shard.groups.get_mut(&seat.view)?;
        let (_, client) = group.swap_remove(seat.index);
        if let Some((moved, _)) = group.get(seat.index)
            && let Some(moved) = self.seats.get_mut(moved)
        {
            moved.index = seat.index;
        }
        if group.is_empty() {
            shard.groups.remove(&seat.view);
        }
        shard.len -= 1;
        self.leave_view(seat.view);
        Some((client, seat.shard, seat.view))
    }

    fn join_view(&mut self, projects: Projects) -> ViewId {
        if let Some(&id) = self.by_projects.get(&projects) {
            if let Some(view) = self.views.get_mut(&id) {
                view.members += 1;
            }
            return id;
        }
        let id = self.next_view;
        self.next_view += 1;
        for project in &projects {
            *self.wanted.entry(project.clone()).or_default() += 1;
        }
        self.by_projects.insert(projects.clone(), id);
        self.views.insert(id, View { projects, members: 1 });
        id
    }

    fn leave_view(&mut self, id: ViewId) {
        let Some(view) = self.views.get_mut(&id) else { return };
        view.members -= 1;
        if view.members > 0 {
            return;
        }
        if let Some(view) = self.views.remove(&id) {
            self.by_projects.remove(&view.projects);
            for project in view.projects {
                if let Some(views) = self.wanted.get_mut(&project) {
                    *views -= 1;
                    if *views == 0 {
                        self.wanted.remove(&project);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
