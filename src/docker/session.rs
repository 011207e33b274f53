//! A session with one engine, from the first ping to the first failure.
//!
//! A session is opened and dropped as a whole, with everything known about the engine, its readings
//! and its threads. After a restart of the engine everything starts over, and no rate is computed
//! across the gap.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::engine::call::EventFilter;
use super::engine::client::{CallCounters, EngineClient};
use super::engine::error::EngineError;
use super::engine::host::DockerHost;
use super::engine::negotiate::{negotiate, parse_version};
use super::inventory::event_history::SharedEventHistory;
use super::inventory::watch::{InventoryWatch, SharedInventory};
use super::inventory::{Inventory, Target};
use super::sampling::direct::DirectSampler;
use super::sampling::podman::PodmanSampler;
use super::sampling::probe::{ProbeOutcome, ReadMode, probe};
use super::sampling::readings::ContainerReadings;
use super::sampling::sample::SampleDialect;
use super::sampling::streams::StreamSampler;
use crate::lock::lock;
use crate::stats::payload::Mode;
use crate::{EngineInfo, HubHandle, Interest, Snapshot, SourceError};

/// Before this version Podman swaps bytes received and sent (podman pull request 16628).
const UNSWAPPED_PODMAN: (u32, u32) = (4, 4);
/// The time limit of a reading. A shutdown waits for it.
const READING_LIMIT: Duration = Duration::from_millis(1_900);
/// The longest wait for the samples of streams.
const PASS_LIMIT: Duration = Duration::from_millis(1_500);
/// If no sample arrived for this long, the engine is pinged.
const PING_AFTER: Duration = Duration::from_millis(2_500);
/// Maximum number of containers probed per reading, and the number of probes that may time out
/// before streams are used.
const PROBES: usize = 3;

/// A reachable engine and everything that reads it.
#[derive(Debug)]
pub(super) struct EngineSession {
    client: EngineClient,
    is_podman: bool,
    inventory: SharedInventory,
    readings: ContainerReadings,
    sampler: Sampler,
    /// The number of the container to probe next, and the number of probes that timed out.
    next_probe: usize,
    timed_out_probes: usize,
    /// Until when readings wait for the first list. Later ones return at once.
    list_wait_ends: Instant,
    /// When a sample arrived last, or there was no container to sample.
    last_sample: Instant,
    pub(super) info: EngineInfo,
    /// Declared last so that its threads are joined when nothing else is running.
    watch: InventoryWatch,
}

/// How samples are taken.
#[derive(Debug)]
enum Sampler {
    /// Unknown until there is a container to probe.
    Unknown,
    Direct(DirectSampler),
    Stream(StreamSampler),
    Podman(PodmanSampler),
}

impl EngineSession {
    /// Connects to the engine at `host` and starts to watch its containers. `known` is the read
    /// mode of an earlier session; it is used if the engine is still the same. Until
    /// [`wait_for_list`](Self::wait_for_list) succeeds, no container is known.
    pub(super) fn open(
        host: &DockerHost,
        hub: Option<&HubHandle>,
        history: &SharedEventHistory,
        known: Option<&(EngineInfo, ReadMode)>,
        counters: &Arc<CallCounters>,
    ) -> Result<Self, SourceError> {
        let deadline = Instant::now() + READING_LIMIT;
        let (client, mut info) = negotiate(host, deadline, counters)?;
        info.connecting = true;
        let is_podman = info.mode == Some(Mode::Podman);
        let filter = if is_podman { EventFilter::ByType } else { EventFilter::ByAction };
        let inventory: SharedInventory = Arc::new(Mutex::new(Inventory::default()));
        let watch = InventoryWatch::start(&client, filter, &inventory, history, hub)?;
        let mut session = Self {
            client,
            is_podman,
            inventory,
            readings: ContainerReadings::default(),
            sampler: Sampler::Unknown,
            next_probe: 0,
            timed_out_probes: 0,
            list_wait_ends: deadline,
            last_sample: Instant::now(),
            info,
            watch,
        };
        match known {
            Some((info, mode)) if *info == session.identity() => session.start_sampler(*mode)?,
            _ if is_podman => session.sampler = Sampler::Podman(session.start_podman()?),
            _ => {}
        }
        Ok(session)
    }

    /// The engine's name and versions, without the fields about sampling.
    pub(super) fn identity(&self) -> EngineInfo {
        EngineInfo { mode: None, interval: None, connecting: false, ..self.info.clone() }
    }

    /// Waits for the list of running containers. With many containers or busy disks an engine needs
    /// seconds for it.
    ///
    /// # Errors
    /// It has not arrived: `info.connecting` is still true. Or it has failed.
    pub(super) fn wait_for_list(&mut self) -> Result<(), SourceError> {
        if !self.info.connecting {
            return Ok(());
        }
        if !self.watch.wait_for_list(self.list_wait_ends) {
            return Err("waiting for the engine's list of containers".into());
        }
        self.info.connecting = false;
        self.lost().map_or(Ok(()), |why| Err(why.into()))
    }

    /// The read mode, if it was probed.
    pub(super) fn read_mode(&self) -> Option<ReadMode> {
        match self.sampler {
            Sampler::Direct(_) => Some(ReadMode::Direct),
            Sampler::Stream(_) => Some(ReadMode::Stream),
            Sampler::Unknown | Sampler::Podman(_) => None,
        }
    }

    /// Publishes the list again, because the hub no longer has it.
    pub(super) fn republish(&self) {
        self.watch.republish();
    }

    /// Why the session has failed, if it has.
    pub(super) fn lost(&self) -> Option<String> {
        lock(&self.inventory).lost.clone()
    }

    /// Samples the containers of the projects in `interest`.
    pub(super) fn collect(&mut self, interest: &Interest) -> Result<Snapshot, SourceError> {
        let start = Instant::now();
        let targets = lock(&self.inventory).targets(interest);
        self.readings.set_targets(&targets, start);
        let any = self.sample(&targets, start)?;
        if any || targets.is_empty() {
            self.last_sample = Instant::now();
        } else if self.last_sample.elapsed() > PING_AFTER {
            self.client.ping(start + READING_LIMIT)?;
        }
        if let Some(why) = self.lost() {
            return Err(why.into());
        }
        self.info.interval = match &mut self.sampler {
            Sampler::Direct(direct) => direct.interval(),
            Sampler::Stream(streams) => streams.interval(),
            Sampler::Unknown | Sampler::Podman(_) => None,
        };
        let interval = self.info.interval.unwrap_or(Duration::from_secs(1));
        // The containers may have changed during the reading.
        drop(targets);
        let (targets, counts, stopped) = {
            let inventory = lock(&self.inventory);
            let stopped = inventory.stopped(interest);
            (inventory.targets(interest), inventory.counts(interest), stopped)
        };
        let stats = self.readings.container_stats(&targets, Instant::now(), interval);
        Ok(Snapshot::with_counts(stats, counts, interval * 3 / 2)?.with_stopped(stopped))
    }

    /// Stores new samples in `readings`. Returns whether there were any.
    fn sample(&mut self, targets: &[Target], start: Instant) -> Result<bool, SourceError> {
        let mut deadline = start + PASS_LIMIT;
        if matches!(self.sampler, Sampler::Unknown) {
            match self.probe(targets)? {
                Some(mode) => self.start_sampler(mode)?,
                None => return Ok(false),
            }
            // The probe ended right after a pass of the engine, so the next one takes a second.
            deadline = start + READING_LIMIT;
        }
        match &self.sampler {
            Sampler::Podman(podman) if podman.is_refused() => {
                // Without a probe: Podman responds to a call for one sample at once.
                self.start_sampler(ReadMode::Direct)?;
            }
            Sampler::Podman(podman) if podman.has_ended() => {
                self.sampler = Sampler::Podman(self.start_podman()?);
            }
            Sampler::Stream(streams) if streams.has_ended() => {
                self.start_sampler(ReadMode::Stream)?;
            }
            _ => {}
        }
        let readings = &mut self.readings;
        Ok(match &mut self.sampler {
            Sampler::Unknown => false,
            Sampler::Direct(direct) => direct.sweep(targets, readings, Instant::now())?,
            Sampler::Stream(streams) => streams.next_pass(targets, readings, deadline),
            Sampler::Podman(podman) => podman.next_frame(targets, readings, deadline),
        })
    }

    fn start_podman(&self) -> io::Result<PodmanSampler> {
        let swapped = self.dialect() == SampleDialect::Podman { swapped: true };
        PodmanSampler::start(&self.client, swapped)
    }

    fn dialect(&self) -> SampleDialect {
        if !self.is_podman {
            return SampleDialect::Docker;
        }
        let version = self.info.version.as_deref().and_then(parse_version);
        SampleDialect::Podman { swapped: version.is_some_and(|v| v < UNSWAPPED_PODMAN) }
    }

    /// Probes one container after the other, because a container may be gone, have no sample, or
    /// hang.
    fn probe(&mut self, targets: &[Target]) -> Result<Option<ReadMode>, EngineError> {
        let first = self.next_probe;
        for target in targets.iter().cycle().skip(first).take(targets.len().min(PROBES)) {
            self.next_probe = (self.next_probe + 1) % targets.len();
            match probe(&self.client, &target.id)? {
                ProbeOutcome::Mode(mode) => return Ok(Some(mode)),
                ProbeOutcome::NoSample => {}
                // It took over a second. Leave the next container to the next reading.
                ProbeOutcome::Hung => {
                    self.timed_out_probes += 1;
                    // Streams work with every engine.
                    return Ok((self.timed_out_probes >= PROBES).then_some(ReadMode::Stream));
                }
            }
        }
        Ok(None)
    }

    fn start_sampler(&mut self, mode: ReadMode) -> Result<(), SourceError> {
        (self.sampler, self.info.mode) = match mode {
            ReadMode::Direct => (
                Sampler::Direct(DirectSampler::start(
                    &self.client,
                    self.dialect(),
                    Instant::now(),
                )?),
                Some(Mode::Direct),
            ),
            ReadMode::Stream => {
                (Sampler::Stream(StreamSampler::start(&self.client)?), Some(Mode::Stream))
            }
        };
        Ok(())
    }
}
