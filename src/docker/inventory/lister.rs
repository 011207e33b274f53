//! The thread `kentros-list`, which lists and inspects containers and publishes `project_list`.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, select};
use serde_json::value::to_raw_value;

use super::incidents::minute;
use super::watch::SharedInventory;
use crate::docker::engine::call::EngineCall;
use crate::docker::engine::client::{CALL_LIMIT, EngineClient};
use crate::docker::engine::error::EngineError;
use crate::docker::engine::json::{ContainerInspect, ContainerSummary};
use crate::docker::engine::list::{ContainerList, MAX_RUNNING};
use crate::lock::lock;
use crate::rate_limited::RateLimitedWarning;
use crate::{HubHandle, Message};

/// The least time between two `project_list` messages.
const LIST_PAUSE: Duration = Duration::from_millis(500);
/// How often all containers are listed, in addition to the changes that events report.
const LIST_EVERY: Duration = Duration::from_secs(30);
/// The same without events, which a socket proxy may refuse.
const LIST_EVERY_WITHOUT_EVENTS: Duration = Duration::from_secs(2);
/// The time limit of a list: with tens of thousands of containers it takes seconds.
const LIST_LIMIT: Duration = Duration::from_secs(15);
/// The most containers to list by id, because ids are part of the URL. If more have changed, all
/// are listed.
const MAX_BY_ID: usize = 50;
/// The most inspections per turn: each costs the engine a few milliseconds.
const INSPECTIONS_PER_TURN: usize = 25;

/// Lists containers after events and at intervals.
pub(super) struct Lister {
    client: EngineClient,
    inventory: SharedInventory,
    hub: Option<HubHandle>,
    /// False once a socket proxy has refused an inspection.
    may_inspect: bool,
    /// The hash of the list published last, because a list of a thousand containers has a megabyte.
    published: Option<u64>,
    hasher: RandomState,
    skipped_warning: RateLimitedWarning,
    limit_warning: RateLimitedWarning,
}

impl Lister {
    pub(super) fn new(
        client: EngineClient,
        inventory: SharedInventory,
        hub: Option<HubHandle>,
    ) -> Self {
        Self {
            client,
            inventory,
            hub,
            may_inspect: true,
            published: None,
            hasher: RandomState::new(),
            skipped_warning: RateLimitedWarning::default(),
            limit_warning: RateLimitedWarning::default(),
        }
    }

    /// Runs until the sender of `stopped` is dropped or the engine is lost. Drops `list_pending` after
    /// the first list. `changed` wakes it after an event.
    pub(super) fn run(
        mut self,
        list_pending: Sender<()>,
        stopped: &Receiver<()>,
        changed: &Receiver<()>,
    ) {
        // Sampling can start with the running containers, whose list takes a fraction of the time.
        let running = self.list_running();
        drop(list_pending);
        if running.is_err() {
            return;
        }
        // Wait for the event stream, so that no change is missed between it and the full list.
        select! {
            recv(stopped) -> _ => return,
            recv(changed) -> _ => {}
            recv(crossbeam_channel::after(LIST_PAUSE)) -> _ => {}
        }
        // When all were listed last, and whether there were events then.
        let mut listed: Option<(Instant, Option<bool>)> = None;
        loop {
            let now = Instant::now();
            let events = lock(&self.inventory).events;
            let every = if events == Some(false) { LIST_EVERY_WITHOUT_EVENTS } else { LIST_EVERY };
            match listed {
                Some((at, with_events)) if now < at + every && with_events == events => {
                    self.list_changed();
                }
                _ => {
                    self.list_all();
                    listed = Some((Instant::now(), events));
                }
            }
            let next_list = listed.map_or(now, |(at, _)| at) + every;
            self.publish();
            let pause_ends = Instant::now() + LIST_PAUSE;
            let has_more = self.inspect();
            select! {
                recv(stopped) -> _ => return,
                recv(crossbeam_channel::at(pause_ends)) -> _ => {}
            }
            if has_more || lock(&self.inventory).has_changed() {
                continue;
            }
            select! {
                recv(stopped) -> _ => return,
                recv(changed) -> _ => {}
                recv(crossbeam_channel::at(next_list)) -> _ => {}
            }
        }
    }

    fn list_running(&self) -> Result<(), ()> {
        let changed = lock(&self.inventory).begin_list();
        let list = self.list(EngineCall::List { all: false });
        let mut inventory = lock(&self.inventory);
        match list {
            Ok(list) => {
                inventory.apply_full_list(list);
                Ok(())
            }
            Err(error) => {
                inventory.abort_list(changed);
                inventory.lost.get_or_insert(error.to_string());
                Err(())
            }
        }
    }

    fn list_all(&self) {
        let changed = lock(&self.inventory).begin_list();
        match self.list(EngineCall::List { all: true }) {
            Ok(list) => lock(&self.inventory).apply_full_list(list),
            Err(error) => self.list_failed(changed, &error),
        }
    }

    fn list_changed(&self) {
        let changed = lock(&self.inventory).begin_list();
        if changed.is_empty() {
            lock(&self.inventory).abort_list(changed);
        } else if changed.len() > MAX_BY_ID {
            // They stay marked as changed in case the full list fails.
            lock(&self.inventory).abort_list(changed);
            self.list_all();
        } else {
            match self.list(EngineCall::ListOnly(&changed)) {
                Ok(list) => lock(&self.inventory).apply_list(&changed, list),
                Err(error) => self.list_failed(changed, &error),
            }
        }
    }

    fn list(&self, call: EngineCall<'_>) -> Result<Vec<ContainerSummary>, EngineError> {
        let list: ContainerList = self.client.get(call, Instant::now() + LIST_LIMIT)?;
        if list.skipped > 0 {
            self.client.count_error();
            self.skipped_warning.warn(|| {
                format!("{} elements of the container list have no usable id", list.skipped)
            });
        }
        if list.running_left_out > 0 {
            self.limit_warning.warn(|| {
                format!(
                    "more than {MAX_RUNNING} running containers: the {} oldest are left out",
                    list.running_left_out
                )
            });
        }
        Ok(list.containers)
    }

    fn list_failed(&self, changed: Vec<String>, error: &EngineError) {
        log::debug!("cannot list containers: {error}");
        let mut inventory = lock(&self.inventory);
        inventory.abort_list(changed);
        if !error.is_response() {
            inventory.lost.get_or_insert(error.to_string());
        }
    }

    /// Inspects containers that have not been inspected. Returns whether to continue soon.
    fn inspect(&mut self) -> bool {
        if !self.may_inspect {
            return false;
        }
        let ids = lock(&self.inventory).uninspected(INSPECTIONS_PER_TURN);
        for id in &ids {
            lock(&self.inventory).begin_inspection(id);
            let response: Result<ContainerInspect, _> =
                self.client.get(EngineCall::Inspect(id), Instant::now() + CALL_LIMIT);
            lock(&self.inventory).apply_inspection(id, response.as_ref().ok());
            match response {
                Err(error) if error.is_denied() => {
                    log::info!("start times, exit codes and limits are not available: {error}");
                    self.may_inspect = false;
                    return false;
                }
                // It timed out. Leave the others to the next turn.
                Err(error) if !error.is_response() => return true,
                Ok(_) | Err(_) => {}
            }
        }
        !ids.is_empty()
    }

    /// Publishes the list if it has changed.
    fn publish(&mut self) {
        let Some(hub) = &self.hub else { return };
        let list = {
            let mut inventory = lock(&self.inventory);
            if std::mem::take(&mut inventory.republish) {
                self.published = None;
            }
            inventory.update_incidents(minute());
            to_raw_value(&inventory.projects())
        };
        // Encoding cannot fail.
        let Ok(list) = list else { return };
        let hash = self.hasher.hash_one(list.get());
        if self.published == Some(hash) {
            return;
        }
        match hub.broadcast(&Message::new("project_list", list).latest()) {
            Ok(()) => self.published = Some(hash),
            Err(error) => log::debug!("cannot publish project_list: {error}"),
        }
    }
}
