//! The work a simulated container does: pure.

/// Cores of the simulated host.
pub(super) const CORES: u32 = 8;
/// Memory of the simulated host, bytes: what no limit means.
const HOST_MEMORY: u64 = 16 << 30;
/// One percent of a core for a second.
const NANOS_PER_PERCENT: f64 = 1e7;
/// Memory comes in pages of this many bytes.
const PAGE: f64 = 4_096.0;
const MIB: f64 = 1_048_576.0;

/// What a service of this kind does when nothing special happens.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) name: &'static str,
    pub(super) image: &'static str,
    /// Whether it has a health check.
    pub(super) checked: bool,
    /// The port it publishes.
    pub(super) port: Option<u16>,
    /// Whether it appears once only, with a role.
    pub(super) cast: bool,
    /// CPU in a calm minute, percent of a core.
    cpu: f64,
    /// Cores it may use at most; 0 for all.
    cores: u32,
    /// Memory around which it moves, MiB.
    memory: f64,
    /// Memory it may use at most, MiB; 0 for all.
    limit: u64,
    /// Bytes received, sent, read and written a second in a calm minute.
    rates: [f64; 4],
    pids: f64,
}

/// A row of [`SERVICES`].
const fn service(name: &'static str, image: &'static str) -> Service {
    Service {
        name,
        image,
        checked: false,
        port: None,
        cast: false,
        cpu: 1.0,
        cores: 0,
        memory: 64.0,
        limit: 0,
        rates: [500.0, 400.0, 0.0, 0.0],
        pids: 4.0,
    }
}

/// Every kind of service there is.
#[rustfmt::skip]
pub(super) const SERVICES: [Service; 13] = [
    Service { checked: true, port: Some(80), cpu: 2.5, memory: 22.0, limit: 128, pids: 5.0, rates: [42e3, 310e3, 0.0, 900.0], ..service("web", "nginx:1.27-alpine") },
    Service { checked: true, cpu: 6.0, cores: 2, memory: 820.0, limit: 2048, pids: 23.0, rates: [38e3, 95e3, 21e3, 160e3], ..service("db", "postgres:17") },
    Service { checked: true, cpu: 18.0, cores: 2, memory: 310.0, limit: 512, pids: 19.0, rates: [120e3, 88e3, 300.0, 4e3], ..service("api", "ghcr.io/example/api:2.8.1") },
    Service { cpu: 31.0, cores: 1, memory: 180.0, limit: 256, pids: 9.0, rates: [9e3, 14e3, 2e3, 26e3], ..service("worker", "ghcr.io/example/worker:2.8.1") },
    Service { checked: true, cpu: 0.9, memory: 46.0, pids: 6.0, rates: [27e3, 51e3, 0.0, 7e3], ..service("cache", "redis:7.4") },
    Service { cpu: 3.2, memory: 140.0, limit: 512, pids: 31.0, rates: [6e3, 6e3, 100.0, 11e3], ..service("queue", "rabbitmq:4.0") },
    Service { cpu: 9.0, cores: 4, memory: 1460.0, limit: 3072, pids: 64.0, rates: [11e3, 30e3, 45e3, 38e3], ..service("search", "opensearchproject/opensearch:2.18.0") },
    Service { cpu: 0.1, memory: 9.5, pids: 1.0, rates: [40.0, 40.0, 0.0, 0.0], ..service("cron", "ghcr.io/example/cron:1.4") },
    Service { cast: true, cpu: 0.4, memory: 18.0, pids: 7.0, ..service("node-exporter", "prom/node-exporter:v1.8.2") },
    Service { cast: true, ..service("migrate", "ghcr.io/example/api:2.8.1") },
    Service { cast: true, cpu: 55.0, cores: 1, memory: 170.0, limit: 256, pids: 3.0, rates: [640e3, 22e3, 0.0, 410e3], ..service("importer", "ghcr.io/example/importer:0.9") },
    Service { cast: true, cpu: 0.6, memory: 52.0, limit: 64, pids: 3.0, rates: [90.0, 300.0, 0.0, 60.0], ..service("mailer", "ghcr.io/example/mailer:1.1") },
    Service { cast: true, port: Some(5000), cpu: 0.2, memory: 31.0, pids: 10.0, rates: [2e3, 60e3, 30e3, 1e3], ..service("registry", "registry:2") },
];

impl Service {
    /// Cores it may use.
    pub(super) fn cores(&self) -> f64 {
        f64::from(if self.cores == 0 { CORES } else { self.cores })
    }

    /// Bytes of memory it may use.
    pub(super) fn memory_limit(&self) -> u64 {
        if self.limit == 0 { HOST_MEMORY } else { self.limit << 20 }
    }
}

/// The figures of one container, as they move.
#[derive(Clone, Debug)]
pub(super) struct Load {
    /// Percent of a core.
    cpu: f64,
    /// CPU used since the start, nanoseconds.
    cpu_total: f64,
    /// Bytes.
    memory: f64,
    /// Bytes received, sent, read and written since the start.
    bytes: [f64; 4],
    pids: f64,
    /// Seconds the present burst still lasts.
    burst: f64,
    /// Where memory is in its slow swing, radians.
    swing: f64,
    /// How busy this one is beside others of its kind.
    scale: f64,
}

impl Load {
    /// The figures after `age` seconds of calm work.
    pub(super) fn after(service: &Service, dice: &mut Dice, age: f64) -> Self {
        let scale = dice.between(0.3, 1.8);
        let full = if age > 0.0 { 1.0 } else { 0.4 };
        Self {
            cpu: service.cpu * scale,
            cpu_total: service.cpu * scale * age * NANOS_PER_PERCENT,
            memory: service.memory * MIB * (0.75 + 0.2 * scale) * full,
            bytes: service.rates.map(|rate| rate * scale * age * dice.between(0.2, 1.0)),
            pids: service.pids,
            burst: 0.0,
            swing: dice.between(0.0, std::f64::consts::TAU),
            scale,
        }
    }

    /// Lets `seconds` pass.
    pub(super) fn step(&mut self, service: &Service, dice: &mut Dice, seconds: f64) {
        self.burst -= seconds;
        if self.burst < 0.0 && dice.between(0.0, 1.0) < 0.015 * seconds {
            self.burst = dice.between(3.0, 12.0);
        }
        let busy = self.scale * if self.burst > 0.0 { 4.5 } else { 1.0 };
        // CPU is drawn to its level and never quite rests there.
        let level = service.cpu * busy * dice.between(0.7, 1.3);
        self.cpu += (level - self.cpu) * (0.5 * seconds).min(1.0);
        self.cpu = self.cpu.clamp(0.0, service.cores() * 100.0);
        self.cpu_total += self.cpu * seconds * NANOS_PER_PERCENT;

        // Memory follows a swing of some five minutes, and takes a while to do so.
        self.swing += seconds / 50.0;
        let share = 0.75 + 0.2 * self.scale + 0.08 * self.swing.sin();
        let goal = service.memory * MIB * share * dice.between(0.97, 1.03);
        self.memory += (goal - self.memory) * (0.05 * seconds).min(1.0);

        for (bytes, rate) in self.bytes.iter_mut().zip(service.rates) {
            *bytes += rate * busy * dice.between(0.0, 2.0) * seconds;
        }
        if dice.between(0.0, 1.0) < 0.05 * seconds {
            self.pids = (service.pids * dice.between(0.9, 1.2)).max(1.0);
        }
    }

    /// Percent of a core, to a thousandth.
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

    /// Percent of `limit` bytes, to a thousandth.
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

/// The integer part; negative is 0.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // `as` saturates
fn whole(value: f64) -> u64 {
    value as u64
}

/// A generator of numbers that look random and are the same for the same seed: `SplitMix64`
/// (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        let mut dice = Self(seed);
        Self(dice.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from `low` to below `high`.
    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        #[allow(clippy::cast_precision_loss)] // 53 bits fit
        let unit = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        low + (high - low) * unit
    }

    /// A container's id: 64 hexadecimal digits.
    pub(super) fn id(&mut self) -> String {
        let [a, b, c, d] = [self.next(), self.next(), self.next(), self.next()];
        format!("{a:016x}{b:016x}{c:016x}{d:016x}")
    }
}
