//! The engine, and what happens to it and in it.

use std::time::{Duration, Instant};

use kentros::DockerHost;

use super::clients::Dice;
use super::pause;
use crate::fake_engine::{Fake, FakeEngine, Kind};

/// The most containers at a time.
const CONTAINERS: usize = 48;

#[derive(Debug)]
pub(crate) struct Engine {
    fake: FakeEngine,
    containers: Vec<String>,
    dice: Dice,
    number: usize,
}

impl Engine {
    pub(crate) fn start() -> Self {
        let fake = FakeEngine::start(Kind::Stream);
        let mut engine = Self { fake, containers: Vec::new(), dice: Dice::new(0), number: 0 };
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

    /// Starts, stops, pauses, removes containers, and hangs and restarts, until then.
    pub(crate) fn churn(&mut self, end: Instant) {
        while Instant::now() < end {
            pause(Duration::from_millis(50 + self.dice.below(500)));
            match self.dice.below(40) {
                0 => {
                    self.stop();
                    pause(Duration::from_millis(self.dice.below(2_000)));
                    self.restart();
                }
                1 => {
                    self.fake.hang(true);
                    pause(Duration::from_millis(self.dice.below(4_000)));
                    self.fake.hang(false);
                }
                2..12 if self.containers.len() < CONTAINERS => self.add(),
                12..18 if self.containers.len() > 2 => self.remove(),
                18..22 => self.turn("die", "exited"),
                22..26 => self.turn("start", "running"),
                26..28 => self.turn("pause", "paused"),
                28..30 => self.turn("unpause", "running"),
                30 => self.fake.raw_event("{\"Action\":\"start\",\"Actor\":\u{7f}}"),
                _ => {}
            }
        }
    }

    fn add(&mut self) {
        self.number += 1;
        let project = format!("p{}", self.number % 4);
        let id = self.fake.add(Fake::new(&format!("c{}", self.number), &project));
        self.fake.event(&id, "create", &[]);
        self.fake.event(&id, "start", &[]);
        self.containers.push(id);
    }

    fn remove(&mut self) {
        let id = self.containers.swap_remove(self.dice.index(self.containers.len()));
        self.fake.edit(&id, |fake| "exited".clone_into(&mut fake.state));
        self.fake.event(&id, "die", &[("exitCode", "137")]);
        self.fake.event(&id, "destroy", &[]);
        self.fake.remove(&id);
    }

    fn turn(&mut self, action: &str, state: &str) {
        let id = &self.containers[self.dice.index(self.containers.len())];
        self.fake.edit(id, |fake| state.clone_into(&mut fake.state));
        self.fake.event(id, action, &[]);
    }
}
