//! Who is connected and interested in what: pure, no threads, no sockets, no clock.
//!
//! Clients with the same interest share a *view*: what they are sent is joined once for all of
//! them. Each client is in one *shard*, the part of the fan-out that one thread does, and stays
//! there, so its messages keep their order.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::Interest;

/// The default limit of the projects that one client may subscribe to.
pub(crate) const MAX_SUBSCRIPTIONS: usize = 256;

/// The most projects that a combined interest names. Putting more together at each subscription
/// would keep the hub from its work, and so many are about all there are.
const MAX_COMBINED: usize = 256;

pub(crate) type ViewId = u64;

/// The clients and their interests; `C` is how a client is reached.
#[derive(Debug)]
pub(crate) struct Registry<C> {
    seats: HashMap<u64, Seat>,
    views: BTreeMap<ViewId, View>,
    by_interest: HashMap<Interest, ViewId>,
    /// The views that name each project.
    by_project: HashMap<String, BTreeSet<ViewId>>,
    next_view: ViewId,
    shards: Vec<Shard<C>>,
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
    interest: Interest,
    members: usize,
}

/// The clients that one thread delivers to.
#[derive(Debug)]
pub(crate) struct Shard<C> {
    groups: HashMap<ViewId, Vec<(u64, C)>>,
    len: usize,
}

impl<C> Default for Shard<C> {
    fn default() -> Self {
        Self { groups: HashMap::new(), len: 0 }
    }
}

impl<C> Shard<C> {
    /// The members of a view, with their ids.
    pub(crate) fn members(&self, view: ViewId) -> &[(u64, C)] {
        self.groups.get(&view).map_or(&[], Vec::as_slice)
    }
}

impl<C> Registry<C> {
    /// A registry whose clients are spread over `shards`, at least one.
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            seats: HashMap::new(),
            views: BTreeMap::new(),
            by_interest: HashMap::new(),
            by_project: HashMap::new(),
            next_view: 0,
            shards: (0..shards.max(1)).map(|_| Shard::default()).collect(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.seats.len()
    }

    /// Adds a client; `false` if it is in already.
    pub(crate) fn add(&mut self, id: u64, client: C, interest: Interest) -> bool {
        if self.seats.contains_key(&id) {
            return false;
        }
        let smallest = self.shards.iter().enumerate().min_by_key(|(_, shard)| shard.len);
        let shard = smallest.map_or(0, |(i, _)| i);
        self.insert(id, client, shard, interest);
        true
    }

    /// Removes a client; `None` if it is not in.
    pub(crate) fn remove(&mut self, id: u64) -> Option<C> {
        self.take(id).map(|(client, _)| client)
    }

    pub(crate) fn get(&self, id: u64) -> Option<&C> {
        let seat = self.seats.get(&id)?;
        let group = self.shards.get(seat.shard)?.groups.get(&seat.view)?;
        group.get(seat.index).map(|(_, client)| client)
    }

    /// What the client is interested in.
    pub(crate) fn interest(&self, id: u64) -> Option<&Interest> {
        let view = self.views.get(&self.seats.get(&id)?.view)?;
        Some(&view.interest)
    }

    pub(crate) fn set_interest(&mut self, id: u64, interest: Interest) {
        if let Some((client, shard)) = self.take(id) {
            self.insert(id, client, shard, interest);
        }
    }

    /// The views that receive what is about `project`, or about none.
    pub(crate) fn receivers(
        &self,
        project: Option<&str>,
    ) -> impl Iterator<Item = (ViewId, &Interest)> {
        // One of the two is empty: a project's views are looked up, for there may be thousands.
        let (every, some) = match project {
            None => (Some(self.views.iter()), None),
            Some(project) => {
                let all = self.by_interest.get(&Interest::all());
                let named = self.by_project.get(project).into_iter().flatten();
                (None, Some(all.into_iter().chain(named)))
            }
        };
        let some = some.into_iter().flatten().filter_map(|id| Some((id, self.views.get(id)?)));
        let views = every.into_iter().flatten().chain(some);
        views.map(|(id, view)| (*id, &view.interest)).filter(|(_, interest)| !interest.is_none())
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

    /// What all clients together are interested in; `None` if nobody is in anything.
    pub(crate) fn combined(&self) -> Option<Interest> {
        if self.by_interest.contains_key(&Interest::all()) || self.by_project.len() > MAX_COMBINED {
            Some(Interest::all())
        } else if self.by_project.is_empty() {
            None
        } else {
            Some(Interest::only(self.by_project.keys()))
        }
    }

    fn insert(&mut self, id: u64, client: C, shard: usize, interest: Interest) {
        let view = self.join_view(interest);
        let Some(members) = self.shards.get_mut(shard) else { return };
        let group = members.groups.entry(view).or_default();
        let index = group.len();
        group.push((id, client));
        members.len += 1;
        self.seats.insert(id, Seat { shard, view, index });
    }

    /// Takes a client out, and tells its shard.
    fn take(&mut self, id: u64) -> Option<(C, usize)> {
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
        Some((client, seat.shard))
    }

    fn join_view(&mut self, interest: Interest) -> ViewId {
        if let Some(&id) = self.by_interest.get(&interest) {
            if let Some(view) = self.views.get_mut(&id) {
                view.members += 1;
            }
            return id;
        }
        let id = self.next_view;
        self.next_view += 1;
        for project in interest.projects().into_iter().flatten() {
            self.by_project.entry(project.clone()).or_default().insert(id);
        }
        self.by_interest.insert(interest.clone(), id);
        self.views.insert(id, View { interest, members: 1 });
        id
    }

    fn leave_view(&mut self, id: ViewId) {
        let Some(view) = self.views.get_mut(&id) else { return };
        view.members -= 1;
        if view.members > 0 {
            return;
        }
        let Some(view) = self.views.remove(&id) else { return };
        self.by_interest.remove(&view.interest);
        for project in view.interest.projects().into_iter().flatten() {
            if let Some(views) = self.by_project.get_mut(project) {
                views.remove(&id);
                if views.is_empty() {
                    self.by_project.remove(project);
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
