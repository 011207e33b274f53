//! The engine's other answers, as JSON: only what we read of them.

use serde::{Deserialize, Deserializer};

/// `null` where a value should stand counts as the value left out.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// `/version`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct EngineVersion {
    #[serde(deserialize_with = "or_default")]
    pub(crate) version: String,
    /// The lowest API version it speaks.
    #[serde(rename = "MinAPIVersion", deserialize_with = "or_default")]
    pub(crate) min_api_version: String,
}

/// An element of `/containers/json`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct ContainerSummary {
    #[serde(deserialize_with = "or_default")]
    pub(crate) id: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) names: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) image: String,
    /// Unix seconds.
    #[serde(deserialize_with = "or_default")]
    pub(crate) created: i64,
    #[serde(deserialize_with = "or_default")]
    pub(crate) state: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) status: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) labels: ContainerLabels,
    #[serde(deserialize_with = "or_default")]
    pub(crate) ports: Vec<ContainerPort>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) host_config: SummaryHostConfig,
}

/// The labels that say where a container belongs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ContainerLabels {
    #[serde(rename = "com.docker.compose.project")]
    compose_project: Option<String>,
    #[serde(rename = "com.docker.compose.service")]
    compose_service: Option<String>,
    #[serde(rename = "io.podman.compose.project")]
    podman_project: Option<String>,
    #[serde(rename = "io.podman.compose.service")]
    podman_service: Option<String>,
    #[serde(rename = "com.docker.stack.namespace")]
    stack: Option<String>,
    #[serde(rename = "com.docker.swarm.service.name")]
    swarm_service: Option<String>,
}

impl ContainerLabels {
    /// The Compose project or the stack.
    pub(crate) fn project(&self) -> Option<&str> {
        [&self.compose_project, &self.podman_project, &self.stack]
            .into_iter()
            .find_map(|label| label.as_deref().filter(|name| !name.is_empty()))
    }

    /// The service within it. Swarm writes the stack before it: `shop_web`.
    pub(crate) fn service(&self) -> Option<&str> {
        let swarm = self.swarm_service.as_deref().map(|name| {
            let stack = self.stack.as_deref().unwrap_or_default();
            name.strip_prefix(stack).and_then(|rest| rest.strip_prefix('_')).unwrap_or(name)
        });
        self.compose_service.as_deref().or(self.podman_service.as_deref()).or(swarm)
    }
}

/// A port of a [`ContainerSummary`] container.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ContainerPort {
    #[serde(rename = "IP")]
    ip: Option<String>,
    #[serde(rename = "PrivatePort")]
    private: u16,
    #[serde(rename = "PublicPort")]
    public: Option<u16>,
    #[serde(rename = "Type", deserialize_with = "or_default")]
    protocol: String,
}

impl std::fmt::Display for ContainerPort {
    /// As `docker ps` shows it: `0.0.0.0:8080->80/tcp`, `[::]:8080->80/tcp`, `80/tcp`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(public) = self.public.filter(|public| *public > 0) {
            match self.ip.as_deref() {
                Some(ip) if ip.contains(':') => write!(f, "[{ip}]:{public}->")?,
                Some(ip) if !ip.is_empty() => write!(f, "{ip}:{public}->")?,
                _ => write!(f, "{public}->")?,
            }
        }
        let protocol = if self.protocol.is_empty() { "tcp" } else { &self.protocol };
        write!(f, "{}/{protocol}", self.private)
    }
}

/// What a [`ContainerSummary`] container says of its settings; Podman says nothing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct SummaryHostConfig {
    pub(crate) network_mode: Option<String>,
}

/// `/containers/{id}/json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct ContainerInspect {
    #[serde(deserialize_with = "or_default")]
    pub(crate) state: InspectState,
    #[serde(deserialize_with = "or_default")]
    pub(crate) host_config: InspectHostConfig,
}

/// The state of an [`ContainerInspect`] container.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct InspectState {
    #[serde(deserialize_with = "or_default")]
    pub(crate) started_at: String,
}

/// The limits of an [`ContainerInspect`] container.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct InspectHostConfig {
    pub(crate) network_mode: Option<String>,
    #[serde(deserialize_with = "or_default")]
    nano_cpus: i64,
    #[serde(deserialize_with = "or_default")]
    cpu_quota: i64,
    #[serde(deserialize_with = "or_default")]
    cpu_period: i64,
}

impl InspectHostConfig {
    /// The cores it may use; `None` for no limit (`docker run --cpus`, `--cpu-quota`).
    pub(crate) fn cpu_limit(&self) -> Option<f64> {
        // The kernel's period where none is given: 100 ms.
        let period = if self.cpu_period > 0 { self.cpu_period } else { 100_000 };
        // Far below 2^53.
        #[allow(clippy::cast_precision_loss)]
        if self.nano_cpus > 0 {
            Some(self.nano_cpus as f64 / 1e9)
        } else {
            (self.cpu_quota > 0).then(|| self.cpu_quota as f64 / period as f64)
        }
    }
}

/// A line of `/events`. From API 1.52 on `status`, `id` and `from` are gone: these remain.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct EngineEvent {
    #[serde(deserialize_with = "or_default")]
    pub(crate) action: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) actor: EventActor,
    #[serde(rename = "timeNano", deserialize_with = "or_default")]
    pub(crate) time_nano: i64,
}

/// The container an [`EngineEvent`] is about.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct EventActor {
    #[serde(rename = "ID", deserialize_with = "or_default")]
    pub(crate) id: String,
    #[serde(rename = "Attributes", deserialize_with = "or_default")]
    pub(crate) attributes: EventAttributes,
}

/// What an [`EngineEvent`] says of its container: labels, and more by its action.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct EventAttributes {
    #[serde(deserialize_with = "or_default")]
    pub(crate) name: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) image: String,
    #[serde(rename = "exitCode")]
    pub(crate) exit_code: Option<String>,
    #[serde(flatten)]
    pub(crate) labels: ContainerLabels,
}
