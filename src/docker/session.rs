//! One connection to an engine, from the first ping to whatever ends it.
//!
//! A session is opened whole and dropped whole: what was found out about the engine, the readings,
//! the threads all go with it. After a restart of the engine everything is therefore asked anew,
//! and no rate is taken across the gap.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ureq::http::HeaderMap;

use crate::docker::engine::call::{EngineCall, EventFilter};
use crate::docker::engine::client::{CallCounters, EngineClient};
use crate::docker::engine::error::EngineError;
use crate::docker::engine::host::DockerHost;
use crate::docker::engine::json::{ContainerSummary, EngineVersion};
use crate::docker::inventory::watch::{InventoryWatch, SharedInventory, lock};
use crate::docker::inventory::{Inventory, Target};
use crate::docker::sampling::direct::DirectSampler;
use crate::docker::sampling::podman::PodmanSampler;
use crate::docker::sampling::probe::{self, ProbeOutcome, ReadMode};
use crate::docker::sampling::readings::ContainerReadings;
use crate::docker::sampling::streams::StreamSampler;
use crate::stats::payload::Mode;
use crate::{EngineInfo, HubHandle, Interest, Snapshot, SourceError};

/// The API version asked for where the engine speaks it: the newest whose answers we know.
const NEWEST: (u32, u32) = (1, 51);
/// The oldest that has one-shots: Docker 20.10.
const OLDEST: (u32, u32) = (1, 41);
/// The first Podman that calls received what is received (podman pull request 16628).
const SWAPPED_BEFORE: (u32, u32) = (4, 4);
/// The longest a reading takes, all in all: a shutdown waits for it.
const READING_LIMIT: Duration = Duration::from_millis(1_900);
/// The longest a reading waits for the samples of a stream.
const PASS_LIMIT: Duration = Duration::from_millis(1_500);
/// Without a sample from anyone for this long the engine is asked whether it is still there.
const DOUBT_AFTER: Duration = Duration::from_millis(2_500);
/// Connections kept alive: four workers' and the lister's.
const CONNECTIONS: usize = 5;

/// Containers probed in one reading, and hung ones before a stream is tried.
const PROBES: usize = 3;

/// An engine that answers, and all that reads it.
#[derive(Debug)]
pub(crate) struct EngineSession {
    client: EngineClient,
    inventory: SharedInventory,
    rows: ContainerReadings,
    sampler: Sampler,
    /// The container to probe next, and how many hung.
    probed: usize,
    hung: usize,
    /// When a sample last came, or there was none to come.
    heard: Instant,
    pub(crate) info: EngineInfo,
    // Dropped last: its threads are joined when nothing else is under way.
    watch: InventoryWatch,
}

/// How samples are taken.
#[derive(Debug)]
enum Sampler {
    /// Not known before there is a container to try it on.
    Unknown,
    Direct(DirectSampler),
    Stream(StreamSampler),
    Podman(PodmanSampler),
}

impl EngineSession {
    /// Finds out what listens at `host`, and starts to watch it. `known` is how the engine behaved
    /// when it was last asked, if it is the same.
    pub(crate) fn open(
        host: &DockerHost,
        hub: Option<&HubHandle>,
        known: Option<&(EngineInfo, ReadMode)>,
        tally: &Arc<CallCounters>,
    ) -> Result<Self, SourceError> {
        let deadline = Instant::now() + READING_LIMIT;
        let (client, info) = identify(host, deadline, tally)?;
        let podman = info.mode == Some(Mode::Podman);
        let kind = if podman { EventFilter::All } else { EventFilter::Filtered };
        let running: Vec<ContainerSummary> =
            client.get(EngineCall::List { all: false }, deadline)?;
        let mut inventory = Inventory::default();
        inventory.listed(running);
        let inventory: SharedInventory = Arc::new(Mutex::new(inventory));
        let watch = InventoryWatch::start(&client, kind, &inventory, hub)?;
        let mut session = Self {
            client,
            inventory,
            rows: ContainerReadings::default(),
            sampler: Sampler::Unknown,
            probed: 0,
            hung: 0,
            heard: Instant::now(),
            info,
            watch,
        };
        match known {
            Some((info, behaviour)) if *info == session.identity() => session.sample(*behaviour)?,
            _ if podman => session.sampler = Sampler::Podman(session.frames()?),
            _ => {}
        }
        Ok(session)
    }

    /// What the engine is, apart from how it is read.
    pub(crate) fn identity(&self) -> EngineInfo {
        EngineInfo { mode: None, interval: None, ..self.info.clone() }
    }

    /// How the engine turned out to behave.
    pub(crate) fn behaviour(&self) -> Option<ReadMode> {
        match self.sampler {
            Sampler::Direct(_) => Some(ReadMode::Direct),
            Sampler::Stream(_) => Some(ReadMode::Stream),
            Sampler::Unknown | Sampler::Podman(_) => None,
        }
    }

    /// Publishes the list anew: the hub has forgotten it.
    pub(crate) fn publish_anew(&self) {
        self.watch.publish_anew();
    }

    /// Why the session cannot go on, if it cannot.
    pub(crate) fn lost(&self) -> Option<String> {
        lock(&self.inventory).lost.clone()
    }

    /// Takes one reading.
    pub(crate) fn collect(&mut self, interest: &Interest) -> Result<Snapshot, SourceError> {
        let start = Instant::now();
        let targets = lock(&self.inventory).targets(interest);
        self.rows.keep(&targets, start);
        let heard = self.read(&targets, start)?;
        if heard || targets.is_empty() {
            self.heard = Instant::now();
        } else if self.heard.elapsed() > DOUBT_AFTER {
            self.client.ping(start + READING_LIMIT)?;
        }
        if let Some(why) = self.lost() {
            return Err(why.into());
        }
        let pace = match &mut self.sampler {
            Sampler::Direct(direct) => direct.pace(),
            Sampler::Stream(streams) => streams.pace(),
            Sampler::Unknown | Sampler::Podman(_) => None,
        };
        self.info.interval = pace;
        let period = pace.unwrap_or(Duration::from_secs(1));
        // What changed during the reading is told as it is now.
        drop(targets);
        let (targets, counts) = {
            let inventory = lock(&self.inventory);
            (inventory.targets(interest), inventory.counts(interest))
        };
        let rows = self.rows.rows(&targets, Instant::now(), period);
        Ok(Snapshot::with_counts(rows, counts, period * 3 / 2)?)
    }

    /// Reads what the sampler gives; whether it gave anything.
    fn read(&mut self, targets: &[Target], start: Instant) -> Result<bool, SourceError> {
        let mut deadline = start + PASS_LIMIT;
        if matches!(self.sampler, Sampler::Unknown) {
            match self.probe(targets)? {
                Some(behaviour) => self.sample(behaviour)?,
                None => return Ok(false),
            }
            // The probe ended with one pass of the engine, and the next takes a second.
            deadline = start + READING_LIMIT;
        }
        match &self.sampler {
            Sampler::Podman(frames) if frames.has_ended() => {
                self.sampler = Sampler::Podman(self.frames()?);
            }
            Sampler::Stream(streams) if streams.has_ended() => self.sample(ReadMode::Stream)?,
            _ => {}
        }
        Ok(match &mut self.sampler {
            Sampler::Unknown => false,
            Sampler::Direct(direct) => direct.sweep(targets, &mut self.rows, Instant::now())?,
            Sampler::Stream(streams) => streams.pass(targets, &mut self.rows, deadline),
            Sampler::Podman(frames) => frames.frame(targets, &mut self.rows, deadline),
        })
    }

    fn frames(&self) -> io::Result<PodmanSampler> {
        let version = self.info.version.as_deref().and_then(number);
        PodmanSampler::start(&self.client, version.is_some_and(|version| version < SWAPPED_BEFORE))
    }

    /// How the engine behaves, tried on one container after the other: a container may be gone,
    /// or have no sample, or hang.
    fn probe(&mut self, targets: &[Target]) -> Result<Option<ReadMode>, EngineError> {
        let start = self.probed;
        for target in targets.iter().cycle().skip(start).take(targets.len().min(PROBES)) {
            self.probed = (self.probed + 1) % targets.len();
            match probe::ask(&self.client, &target.id)? {
                ProbeOutcome::Behaves(behaviour) => return Ok(Some(behaviour)),
                ProbeOutcome::Nothing => {}
                // Over a second is gone: the next one is for the next reading.
                ProbeOutcome::Hung => {
                    self.hung += 1;
                    // A stream tells no less of what hangs, and works with every engine.
                    return Ok((self.hung >= PROBES).then_some(ReadMode::Stream));
                }
            }
        }
        Ok(None)
    }

    fn sample(&mut self, behaviour: ReadMode) -> Result<(), SourceError> {
        (self.sampler, self.info.mode) = match behaviour {
            ReadMode::Direct => (
                Sampler::Direct(DirectSampler::start(&self.client, Instant::now())?),
                Some(Mode::Direct),
            ),
            ReadMode::Stream => {
                (Sampler::Stream(StreamSampler::start(&self.client)?), Some(Mode::Stream))
            }
        };
        Ok(())
    }
}

/// Asks who is there, and settles the API version: a client that speaks it, and what is known.
pub(crate) fn identify(
    host: &DockerHost,
    deadline: Instant,
    tally: &Arc<CallCounters>,
) -> Result<(EngineClient, EngineInfo), EngineError> {
    let client = EngineClient::new(host, "", CONNECTIONS, tally);
    let headers = client.ping(deadline)?;
    let podman = headers.contains_key("libpod-api-version");
    let theirs =
        host.api_version
            .as_deref()
            .or(header(&headers, "api-version"))
            .and_then(number)
            .ok_or_else(|| EngineError::InvalidResponse("it names no API version".to_owned()))?;
    if theirs < OLDEST {
        return Err(EngineError::TooOld(text(theirs)));
    }
    let named = header(&headers, "server").and_then(server);
    let (version, lowest) = if podman {
        // It asks the packages of its helpers for theirs, which takes seconds on a busy machine.
        (named, None)
    } else {
        match client.get::<EngineVersion>(EngineCall::Version, deadline) {
            Ok(version) => (Some(version.version), number(&version.min_api_version)),
            // A proxy may forbid it: then the ping must do.
            Err(error) if error.is_answer() => (named, None),
            Err(error) => return Err(error),
        }
    };
    let api = host.api_version.clone().unwrap_or_else(|| {
        // The lower of ours and theirs, unless they no longer speak that.
        text(theirs.min(NEWEST).max(lowest.unwrap_or(OLDEST)))
    });
    let info = EngineInfo {
        engine: Some(if podman { "Podman" } else { "Docker Engine" }.to_owned()),
        version: version.filter(|version| !version.is_empty()),
        api_version: Some(api.clone()),
        mode: podman.then_some(Mode::Podman),
        ..EngineInfo::default()
    };
    Ok((client.speaking(api), info))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The version in a `Server` header: `Docker/20.10.24+dfsg1 (linux)`.
fn server(header: &str) -> Option<String> {
    let (_, version) = header.split_once('/')?;
    version.split_whitespace().next().map(str::to_owned)
}

/// Major and minor.
fn number(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn text((major, minor): (u32, u32)) -> String {
    format!("{major}.{minor}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert!(number("1.9") < number("1.41"));
        assert_eq!(number("4.3.1"), Some((4, 3)));
        assert_eq!(number("1.41").map(text).as_deref(), Some("1.41"));
        for nonsense in ["", "1", "1.x", "v1.41"] {
            assert_eq!(number(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn the_server_header_names_the_version() {
        let version = server("Docker/20.10.24+dfsg1 (linux)");
        assert_eq!(version.as_deref(), Some("20.10.24+dfsg1"));
        assert_eq!(server("nginx"), None);
    }
}
