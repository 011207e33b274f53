//! The simulated load of one container.

use super::rng::SplitMix64;
use super::services::ServiceProfile;

/// One percent of a core for a second, nanoseconds.
const NANOS_PER_PERCENT: f64 = 1e7;
/// Memory is counted in pages of this size, bytes.
const PAGE: f64 = 4_096.0;
const MIB: f64 = 1_048_576.0;

/// Resource usage that changes over time.
#[derive(Clone, Debug)]
pub(super) struct SimulatedLoad {
    /// Percent of a core.
    cpu: f64,
    /// CPU used since the start, nanoseconds.
    cpu_total: f64,
    /// Bytes.
    memory: f64,
    /// Bytes received, sent, read and written since the start.
    bytes: [f64; 4],
    pids: f64,
    /// Seconds left of the current burst; negative between bursts.
    burst: f64,
    /// Phase of the slow oscillation of memory, radians.
    phase: f64,
    /// How busy this container is compared to others of the same service.
    scale: f64,
}

impl SimulatedLoad {
    /// The load after `age` seconds of normal work.
    pub(super) fn new(service: &ServiceProfile, rng: &mut SplitMix64, age: f64) -> Self {
        let scale = rng.between(0.3, 1.8);
        let full = if age > 0.0 { 1.0 } else { 0.4 };
        Self {
            cpu: service.cpu * scale,
            cpu_total: service.cpu * scale * age * NANOS_PER_PERCENT,
            memory: service.memory * MIB * (0.75 + 0.2 * scale) * full,
            bytes: service.rates.map(|rate| rate * scale * age * rng.between(0.2, 1.0)),
            pids: service.pids,
            burst: 0.0,
            phase: rng.between(0.0, std::f64::consts::TAU),
            scale,
        }
    }

    /// Advances by `seconds`.
    pub(super) fn advance(&mut self, service: &ServiceProfile, rng: &mut SplitMix64, seconds: f64) {
        self.burst -= seconds;
        if self.burst < 0.0 && rng.between(0.0, 1.0) < 0.015 * seconds {
            self.burst = rng.between(3.0, 12.0);
        }
        let busy = self.scale * if self.burst > 0.0 { 4.5 } else { 1.0 };
        // CPU moves towards its level, with noise.
        let level = service.cpu * busy * rng.between(0.7, 1.3);
        self.cpu += (level - self.cpu) * (0.5 * seconds).min(1.0);
        self.cpu = self.cpu.clamp(0.0, service.cores() * 100.0);
        self.cpu_total += self.cpu * seconds * NANOS_PER_PERCENT;

        // Memory follows an oscillation of about five minutes, with a delay.
        self.phase += seconds / 50.0;
        let share = 0.75 + 0.2 * self.scale + 0.08 * self.phase.sin();
        let goal = service.memory * MIB * share * rng.between(0.97, 1.03);
        self.memory += (goal - self.memory) * (0.05 * seconds).min(1.0);

        for (bytes, rate) in self.bytes.iter_mut().zip(service.rates) {
            *bytes += rate * busy * rng.between(0.0, 2.0) * seconds;
        }
        if rng.between(0.0, 1.0) < 0.05 * seconds {
            self.pids = (service.pids * rng.between(0.9, 1.2)).max(1.0);
        }
    }

    /// Percent of a core, three decimals.
    pub(super) fn cpu_percent(&self) -> f64 {
        (self.cpu * 1e3).round() / 1e3
    }

    /// Nanoseconds since the start.
    pub(super) fn cpu_total(&self) -> u64 {
        whole(self.cpu_total)
    }

    /// Bytes, in whole pages.
    pub(super) fn memory(&self) -> u64 {
        whole((self.memory / PAGE).round() * PAGE)
    }

    /// Percent of `limit`, three decimals.
    pub(super) fn memory_percent(&self, limit: u64) -> f64 {
        #[allow(clippy::cast_precision_loss)] // far below 2^53
        let part = self.memory() as f64 / limit as f64;
        (part * 1e5).round() / 1e3
    }

    pub(super) fn received(&self) -> u64 {
        whole(self.bytes[0])
    }

    pub(super) fn sent(&self) -> u64 {
        whole(self.bytes[1])
    }

    pub(super) fn read(&self) -> u64 {
        whole(self.bytes[2])
    }

    pub(super) fn written(&self) -> u64 {
        whole(self.bytes[3])
    }

    pub(super) fn pids(&self) -> u64 {
        whole(self.pids.round())
    }
}

/// The integer part; 0 for negative numbers.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // `as` saturates
fn whole(value: f64) -> u64 {
    value as u64
}
