//! The kinds of services that are simulated.

/// Cores of the simulated host.
pub(super) const CORES: u32 = 8;
/// Memory of the simulated host, bytes.
const HOST_MEMORY: u64 = 16 << 30;

/// What a service uses under normal load.
#[derive(Debug)]
pub(super) struct ServiceProfile {
    pub(super) name: &'static str,
    pub(super) image: &'static str,
    pub(super) has_health_check: bool,
    /// The port it listens on, if published.
    pub(super) port: Option<u16>,
    /// Whether it is used only once, by a special container.
    pub(super) special: bool,
    /// CPU, percent of a core.
    pub(super) cpu: f64,
    /// CPU limit, cores; 0 for none.
    cores: u32,
    /// Average memory, MiB.
    pub(super) memory: f64,
    /// Memory limit, MiB; 0 for none.
    limit: u64,
    /// Bytes received, sent, read and written per second.
    pub(super) rates: [f64; 4],
    pub(super) pids: f64,
}

/// A profile with default values.
const fn service(name: &'static str, image: &'static str) -> ServiceProfile {
    ServiceProfile {
        name,
        image,
        has_health_check: false,
        port: None,
        special: false,
        cpu: 1.0,
        cores: 0,
        memory: 64.0,
        limit: 0,
        rates: [500.0, 400.0, 0.0, 0.0],
        pids: 4.0,
    }
}

#[rustfmt::skip]
pub(super) const SERVICES: [ServiceProfile; 13] = [
    ServiceProfile { has_health_check: true, port: Some(80), cpu: 2.5, memory: 22.0, limit: 128, pids: 5.0, rates: [42e3, 310e3, 0.0, 900.0], ..service("web", "nginx:1.27-alpine") },
    ServiceProfile { has_health_check: true, cpu: 6.0, cores: 2, memory: 820.0, limit: 2048, pids: 23.0, rates: [38e3, 95e3, 21e3, 160e3], ..service("db", "postgres:17") },
    ServiceProfile { has_health_check: true, cpu: 18.0, cores: 2, memory: 310.0, limit: 512, pids: 19.0, rates: [120e3, 88e3, 300.0, 4e3], ..service("api", "ghcr.io/example/api:2.8.1") },
    ServiceProfile { cpu: 31.0, cores: 1, memory: 180.0, limit: 256, pids: 9.0, rates: [9e3, 14e3, 2e3, 26e3], ..service("worker", "ghcr.io/example/worker:2.8.1") },
    ServiceProfile { has_health_check: true, cpu: 0.9, memory: 46.0, pids: 6.0, rates: [27e3, 51e3, 0.0, 7e3], ..service("cache", "redis:7.4") },
    ServiceProfile { cpu: 3.2, memory: 140.0, limit: 512, pids: 31.0, rates: [6e3, 6e3, 100.0, 11e3], ..service("queue", "rabbitmq:4.0") },
    ServiceProfile { cpu: 9.0, cores: 4, memory: 1460.0, limit: 3072, pids: 64.0, rates: [11e3, 30e3, 45e3, 38e3], ..service("search", "opensearchproject/opensearch:2.18.0") },
    ServiceProfile { cpu: 0.1, memory: 9.5, pids: 1.0, rates: [40.0, 40.0, 0.0, 0.0], ..service("cron", "ghcr.io/example/cron:1.4") },
    ServiceProfile { special: true, cpu: 0.4, memory: 18.0, pids: 7.0, ..service("node-exporter", "prom/node-exporter:v1.8.2") },
    ServiceProfile { special: true, ..service("migrate", "ghcr.io/example/api:2.8.1") },
    ServiceProfile { special: true, cpu: 55.0, cores: 1, memory: 170.0, limit: 256, pids: 3.0, rates: [640e3, 22e3, 0.0, 410e3], ..service("importer", "ghcr.io/example/importer:0.9") },
    ServiceProfile { special: true, cpu: 0.6, memory: 52.0, limit: 64, pids: 3.0, rates: [90.0, 300.0, 0.0, 60.0], ..service("mailer", "ghcr.io/example/mailer:1.1") },
    ServiceProfile { special: true, port: Some(5000), cpu: 0.2, memory: 31.0, pids: 10.0, rates: [2e3, 60e3, 30e3, 1e3], ..service("registry", "registry:2") },
];

impl ServiceProfile {
    /// Cores it may use, with or without a limit.
    pub(super) fn cores(&self) -> f64 {
        f64::from(if self.cores == 0 { CORES } else { self.cores })
    }

    /// Bytes of memory it may use, with or without a limit.
    pub(super) fn memory_limit(&self) -> u64 {
        if self.limit == 0 { HOST_MEMORY } else { self.limit << 20 }
    }
}
