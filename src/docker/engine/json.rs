//! The JSON of the engine's responses, except for samples, with the fields kentros reads.

use serde::{Deserialize, Deserializer};

/// Deserializes `null` as the default value, like a missing field.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The response of `/version`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct EngineVersion {
    #[serde(deserialize_with = "or_default")]
    pub(crate) version: String,
    /// The lowest API version the engine supports.
    #[serde(rename = "MinAPIVersion", deserialize_with = "or_default")]
    pub(crate) min_api_version: String,
}

/// An element of the response of `/containers/json`.
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

/// The labels that name a container's project and service.
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
    /// The Compose project or Swarm stack.
    pub(crate) fn project(&self) -> Option<&str> {
        [&self.compose_project, &self.podman_project, &self.stack]
            .into_iter()
            .find_map(|label| label.as_deref().filter(|name| !name.is_empty()))
    }

    /// The service in the project. Swarm prefixes it with the stack, as in `shop_web`.
    pub(crate) fn service(&self) -> Option<&str> {
        let swarm = self.swarm_service.as_deref().map(|name| {
            let stack = self.stack.as_deref().unwrap_or_default();
            name.strip_prefix(stack).and_then(|rest| rest.strip_prefix('_')).unwrap_or(name)
        });
        self.compose_service.as_deref().or(self.podman_service.as_deref()).or(swarm)
    }
}

/// A port of a container.
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

/// The settings in a [`ContainerSummary`]. Podman sends none.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct SummaryHostConfig {
    pub(crate) network_mode: Option<String>,
}

/// The response of `/containers/{id}/json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct ContainerInspect {
    #[serde(deserialize_with = "or_default")]
    pub(crate) state: InspectState,
    #[serde(deserialize_with = "or_default")]
    pub(crate) host_config: InspectHostConfig,
}

/// The state in a [`ContainerInspect`].
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct InspectState {
    #[serde(deserialize_with = "or_default")]
    pub(crate) started_at: String,
}

/// The settings in a [`ContainerInspect`].
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
    /// The CPU limit in cores, from `docker run --cpus` or `--cpu-quota`; `None` for no limit.
    pub(crate) fn cpu_limit(&self) -> Option<f64> {
        // The kernel's default period: 100 ms.
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

/// A line of `/events`, with fields that API 1.52 still has: it removed `status`, `id` and `from`.
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

/// The container of an [`EngineEvent`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct EventActor {
    #[serde(rename = "ID", deserialize_with = "or_default")]
    pub(crate) id: String,
    #[serde(rename = "Attributes", deserialize_with = "or_default")]
    pub(crate) attributes: EventAttributes,
}

/// The attributes of the container of an [`EngineEvent`]: labels, and others by action.
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
