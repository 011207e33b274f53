//! The registered clients and their interests. No threads, sockets or clock.
//!
//! Clients with the same interest share a *view*: the bytes for them are joined once. Each client
//! stays in one *shard*, the clients that one thread sends to, so that its messages keep their
//! order.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::Interest;

/// The default of [`HubConfig::max_subscriptions`](crate::HubConfig::max_subscriptions).
pub(crate) const MAX_SUBSCRIPTIONS: usize = 256;

/// Maximum number of projects in a combined interest; with more it includes all. Combining more at
/// each subscription would take too long.
const MAX_COMBINED: usize = 256;

pub(crate) type ViewId = u64;

/// The clients and their interests. `C` is the type of a client.
#[derive(Debug)]
pub(crate) struct Registry<C> {
    slots: HashMap<u64, ClientSlot>,
    views: BTreeMap<ViewId, View>,
    by_interest: HashMap<Interest, ViewId>,
    /// The views that contain each project.
    by_project: HashMap<String, BTreeSet<ViewId>>,
    next_view: ViewId,
    shards: Vec<Shard<C>>,
}

/// The location of a client.
#[derive(Clone, Copy, Debug)]
struct ClientSlot {
    shard: usize,
    view: ViewId,
    /// The index in the shard's members of the view.
    index: usize,
}

#[derive(Debug)]
struct View {
    interest: Interest,
    members: usize,
}

/// The clients that one thread sends to.
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
    /// A registry with `shards` shards, at least one.
    pub(crate) fn new(shards: usize) -> Self {
        Self {
            slots: HashMap::new(),
            views: BTreeMap::new(),
            by_interest: HashMap::new(),
            by_project: HashMap::new(),
            next_view: 0,
            shards: (0..shards.max(1)).map(|_| Shard::default()).collect(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Adds a client. Returns false if it is registered already.
    pub(crate) fn add(&mut self, id: u64, client: C, interest: Interest) -> bool {
        if self.slots.contains_key(&id) {
            return false;
        }
        let smallest = self.shards.iter().enumerate().min_by_key(|(_, shard)| shard.len);
        let shard = smallest.map_or(0, |(i, _)| i);
        self.attach(id, client, shard, interest);
        true
    }

    /// Removes a client.
    pub(crate) fn remove(&mut self, id: u64) -> Option<C> {
        self.detach(id).map(|(client, _)| client)
    }

    pub(crate) fn get(&self, id: u64) -> Option<&C> {
        let slot = self.slots.get(&id)?;
        let group = self.shards.get(slot.shard)?.groups.get(&slot.view)?;
        group.get(slot.index).map(|(_, client)| client)
    }

    /// All clients, with their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &C)> {
        let groups = self.shards.iter().flat_map(|shard| shard.groups.values());
        groups.flatten().map(|(id, client)| (*id, client))
    }

    /// The client's interest.
    pub(crate) fn interest(&self, id: u64) -> Option<&Interest> {
        let view = self.views.get(&self.slots.get(&id)?.view)?;
        Some(&view.interest)
    }

    pub(crate) fn set_interest(&mut self, id: u64, interest: Interest) {
        if let Some((client, shard)) = self.detach(id) {
            self.attach(id, client, shard, interest);
        }
    }

    /// The views that receive messages of `project`, or without a project.
    pub(crate) fn receivers(
        &self,
        project: Option<&str>,
    ) -> impl Iterator<Item = (ViewId, &Interest)> {
        // One of the two is empty. The views of a project are looked up: there may be thousands.
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

    /// Takes the shards out for the fan-out. [`return_shards`](Self::return_shards) puts them back.
    pub(crate) fn take_shards(&mut self) -> Vec<Shard<C>> {
        std::mem::take(&mut self.shards)
    }

    pub(crate) fn return_shards(&mut self, shards: Vec<Shard<C>>) {
        self.shards = shards;
    }

    /// Removes and returns all clients.
    pub(crate) fn drain(&mut self) -> Vec<C> {
        let ids: Vec<u64> = self.slots.keys().copied().collect();
        ids.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    /// The combined interest of all clients; `None` if it is empty.
    pub(crate) fn combined(&self) -> Option<Interest> {
        if self.by_interest.contains_key(&Interest::all()) || self.by_project.len() > MAX_COMBINED {
            Some(Interest::all())
        } else if self.by_project.is_empty() {
            None
        } else {
            Some(Interest::only(self.by_project.keys()))
        }
    }

    fn attach(&mut self, id: u64, client: C, shard: usize, interest: Interest) {
        let view = self.join_view(interest);
        let Some(members) = self.shards.get_mut(shard) else { return };
        let group = members.groups.entry(view).or_default();
        let index = group.len();
        group.push((id, client));
        members.len += 1;
        self.slots.insert(id, ClientSlot { shard, view, index });
    }

    /// Removes a client. Returns it with its shard.
    fn detach(&mut self, id: u64) -> Option<(C, usize)> {
        let slot = self.slots.remove(&id)?;
        let shard = self.shards.get_mut(slot.shard)?;
        let group = shard.groups.get_mut(&slot.view)?;
        let (_, client) = group.swap_remove(slot.index);
        if let Some((moved, _)) = group.get(slot.index)
            && let Some(moved) = self.slots.get_mut(moved)
        {
            moved.index = slot.index;
        }
        if group.is_empty() {
            shard.groups.remove(&slot.view);
        }
        shard.len -= 1;
        self.leave_view(slot.view);
        Some((client, slot.shard))
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
