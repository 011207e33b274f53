//! The engine and its containers, which change at random.

use std::time::{Duration, Instant};

use fastrand::Rng;
use kentros::DockerHost;

use super::pause;
use crate::harness::fake_engine::{FakeContainer, FakeEngine, Kind};

/// The most containers at a time.
const CONTAINERS: usize = 48;

#[derive(Debug)]
pub(crate) struct Engine {
    fake: FakeEngine,
    containers: Vec<String>,
    rng: Rng,
    /// The number of containers added so far.
    number: usize,
}

impl Engine {
    pub(crate) fn start(rng: Rng) -> Self {
        let fake = FakeEngine::start(Kind::Stream);
        let mut engine = Self { fake, containers: Vec::new(), rng, number: 0 };
        (0..CONTAINERS / 2).for_each(|_| engine.add());
        engine
    }

    pub(crate) fn host(&self) -> DockerHost {
        self.fake.host()
    }

    pub(crate) fn stop(&mut self) {
        self.fake.stop();
    }

    pub(crate) fn restart(&mut self) {
        self.fake.restart();
    }

    pub(crate) fn connections(&self) -> usize {
        self.fake.connections()
    }

    /// Until `end`, starts, stops, pauses and removes containers, hangs and restarts.
    pub(crate) fn churn(&mut self, end: Instant) {
        while Instant::now() < end {
            pause(Duration::from_millis(50 + self.rng.u64(..500)));
            match self.rng.u32(..40) {
                0 => {
                    self.stop();
                    pause(Duration::from_millis(self.rng.u64(..2_000)));
                    self.restart();
                }
                1 => {
                    self.fake.hang(true);
                    pause(Duration::from_millis(self.rng.u64(..4_000)));
                    self.fake.hang(false);
                }
                2..12 if self.containers.len() < CONTAINERS => self.add(),
                12..18 if self.containers.len() > 2 => self.remove(),
                18..22 => self.set_state("die", "exited"),
                22..26 => self.set_state("start", "running"),
                26..28 => self.set_state("pause", "paused"),
                28..30 => self.set_state("unpause", "running"),
                30 => self.fake.raw_event("{\"Action\":\"start\",\"Actor\":\u{7f}}"),
                _ => {}
            }
        }
    }

    fn add(&mut self) {
        self.number += 1;
        let project = format!("p{}", self.number % 4);
        let id = self.fake.add(FakeContainer::new(&format!("c{}", self.number), &project));
        self.fake.event(&id, "create", &[]);
        self.fake.event(&id, "start", &[]);
        self.containers.push(id);
    }

    fn remove(&mut self) {
        let id = self.containers.swap_remove(self.rng.usize(..self.containers.len()));
        self.fake.edit(&id, |fake| "exited".clone_into(&mut fake.state));
        self.fake.event(&id, "die", &[("exitCode", "137")]);
        self.fake.event(&id, "destroy", &[]);
        self.fake.remove(&id);
    }

    fn set_state(&mut self, action: &str, state: &str) {
        let id = &self.containers[self.rng.usize(..self.containers.len())];
        self.fake.edit(id, |fake| state.clone_into(&mut fake.state));
        self.fake.event(id, action, &[]);
    }
}
