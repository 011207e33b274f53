//! Simulated containers, for `kentros --demo`.

pub(crate) mod container;
mod load;
mod rng;
mod services;
pub(crate) mod simulation;

use std::time::{Duration, Instant};

use kentros::{
    EngineInfo, Error, HubHandle, Interest, Message, Mode, ProjectStatus, Snapshot, SourceError,
    StatsSource,
};
use time::OffsetDateTime;

use self::simulation::Simulation;

/// The longest step of the simulation, seconds. After a longer pause the clock skips the rest.
const MAX_STEP: f64 = 10.0;

/// A source of simulated containers.
///
/// With ten or more containers, one is stopped, one is unhealthy, one uses the host's network and
/// one fails and restarts. Ids and names are the same on every start.
pub(crate) struct DemoSource {
    simulation: Simulation,
    hub: Option<HubHandle>,
    last_step: Option<Instant>,
}

impl DemoSource {
    pub(crate) fn new(containers: usize) -> Self {
        Self { simulation: Simulation::new(containers), hub: None, last_step: None }
    }

    fn publish_events(&self, events: &[(String, ProjectStatus)]) -> Result<(), Error> {
        let Some(hub) = &self.hub else { return Ok(()) };
        for (project, status) in events {
            let message = Message::new("project_status", status).project(project);
            hub.broadcast_to_subscribers(project, &message)?;
        }
        self.publish_project_list()
    }

    fn publish_project_list(&self) -> Result<(), Error> {
        let Some(hub) = &self.hub else { return Ok(()) };
        hub.broadcast(&Message::new("project_list", &self.simulation.projects).latest())
    }
}

impl StatsSource for DemoSource {
    fn collect(&mut self, interest: &Interest) -> Result<Snapshot, SourceError> {
        let (instant, now) = (Instant::now(), OffsetDateTime::now_utc());
        if let Some(last) = self.last_step.replace(instant) {
            let elapsed = instant.duration_since(last).as_secs_f64();
            let events = self.simulation.advance(elapsed.min(MAX_STEP), now);
            if !events.is_empty() {
                self.publish_events(&events)?;
            }
        }
        let rows = self.simulation.rows(interest, now);
        Ok(Snapshot::from_rows(rows, &self.simulation.projects, Duration::MAX)?)
    }

    fn start(&mut self, hub: &HubHandle) -> Result<(), SourceError> {
        self.hub = Some(hub.clone());
        self.last_step = None;
        self.simulation.resume(OffsetDateTime::now_utc());
        // Fails only if the hub has stopped, which also ends the streamer.
        let _ = self.publish_project_list();
        Ok(())
    }

    fn pause(&mut self) {
        self.hub = None;
    }

    fn engine_info(&self) -> EngineInfo {
        let mut info = EngineInfo::new("Demo");
        info.version = Some(env!("CARGO_PKG_VERSION").to_owned());
        info.mode = Some(Mode::Demo);
        info
    }
}
