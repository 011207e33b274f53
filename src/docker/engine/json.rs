//! The JSON of the engine's responses, except for samples, with the fields kentros reads.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::lenient::{self, cut, optional_text, or_default, text};

/// Maximum number of names, and of ports, of a container. The others are left out.
const MAX_ELEMENTS: usize = 1_024;

/// The response of `/version`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct EngineVersion {
    #[serde(deserialize_with = "text")]
    pub(crate) version: String,
    #[serde(deserialize_with = "text")]
    pub(crate) api_version: String,
    /// The lowest API version the engine supports.
    #[serde(rename = "MinAPIVersion", deserialize_with = "text")]
    pub(crate) min_api_version: String,
}

/// An element of the response of `/containers/json`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct ContainerSummary {
    #[serde(deserialize_with = "text")]
    pub(crate) id: String,
    #[serde(deserialize_with = "lenient::elements::<_, _, MAX_ELEMENTS>")]
    pub(crate) names: Vec<String>,
    #[serde(deserialize_with = "text")]
    pub(crate) image: String,
    /// Unix seconds.
    #[serde(deserialize_with = "or_default")]
    pub(crate) created: Option<i64>,
    #[serde(deserialize_with = "text")]
    pub(crate) state: String,
    #[serde(deserialize_with = "text")]
    pub(crate) status: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) labels: ContainerLabels,
    #[serde(deserialize_with = "lenient::elements::<_, _, MAX_ELEMENTS>")]
    pub(crate) ports: Vec<ContainerPort>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) host_config: SummaryHostConfig,
}

impl ContainerSummary {
    /// The container's name without the leading slash. Links add names of the form
    /// `/other/alias`. A container without a name is called by its short id.
    pub(crate) fn name(&self) -> String {
        let names = self.names.iter().map(|name| name.strip_prefix('/').unwrap_or(name));
        let name = names.filter(|name| !name.is_empty()).find(|name| !name.contains('/'));
        cut(name.map_or_else(|| short_id(&self.id).to_owned(), str::to_owned))
    }

    /// The health in a status such as `Up 4 seconds (healthy)`.
    pub(crate) fn health(&self) -> Option<&'static str> {
        [("(healthy)", "healthy"), ("(unhealthy)", "unhealthy"), ("(health: starting)", "starting")]
            .into_iter()
            .find_map(|(end, health)| self.status.ends_with(end).then_some(health))
    }
}

/// The first 12 characters of an id, as the docker CLI shows it.
pub(crate) fn short_id(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// The labels that name a container's project and service.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ContainerLabels {
    #[serde(rename = "com.docker.compose.project", deserialize_with = "optional_text")]
    compose_project: Option<String>,
    #[serde(rename = "com.docker.compose.service", deserialize_with = "optional_text")]
    compose_service: Option<String>,
    #[serde(rename = "io.podman.compose.project", deserialize_with = "optional_text")]
    podman_project: Option<String>,
    #[serde(rename = "io.podman.compose.service", deserialize_with = "optional_text")]
    podman_service: Option<String>,
    #[serde(rename = "com.docker.stack.namespace", deserialize_with = "optional_text")]
    stack: Option<String>,
    #[serde(rename = "com.docker.swarm.service.name", deserialize_with = "optional_text")]
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
    #[serde(rename = "IP", default, deserialize_with = "optional_text")]
    ip: Option<String>,
    #[serde(rename = "PrivatePort")]
    private: u16,
    #[serde(rename = "PublicPort")]
    public: Option<u16>,
    #[serde(rename = "Type", deserialize_with = "text")]
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
    #[serde(deserialize_with = "optional_text")]
    pub(crate) network_mode: Option<String>,
}

/// The response of `/containers/{id}/json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct ContainerInspect {
    #[serde(deserialize_with = "or_default")]
    pub(crate) state: InspectState,
    /// How often the restart policy has restarted it.
    #[serde(deserialize_with = "or_default")]
    pub(crate) restart_count: Option<u64>,
    #[serde(deserialize_with = "or_default")]
    pub(crate) host_config: InspectHostConfig,
}

/// The state in a [`ContainerInspect`].
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct InspectState {
    #[serde(deserialize_with = "text")]
    pub(crate) status: String,
    #[serde(deserialize_with = "text")]
    pub(crate) started_at: String,
    #[serde(deserialize_with = "text")]
    pub(crate) finished_at: String,
    /// 0 for a running container.
    #[serde(deserialize_with = "or_default")]
    pub(crate) exit_code: Option<i64>,
    #[serde(rename = "OOMKilled", deserialize_with = "or_default")]
    pub(crate) oom_killed: Option<bool>,
    #[serde(deserialize_with = "or_default")]
    health: InspectHealth,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct InspectHealth {
    #[serde(deserialize_with = "text")]
    status: String,
}

impl InspectState {
    /// `healthy`, `unhealthy` or `starting`; `None` without a health check.
    pub(crate) fn health(&self) -> Option<&str> {
        let status = self.health.status.as_str();
        matches!(status, "healthy" | "unhealthy" | "starting").then_some(status)
    }
}

/// The kernel's period for a CPU limit, in microseconds, unless another is set.
const DEFAULT_PERIOD: i64 = 100_000;

/// The settings in a [`ContainerInspect`].
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct InspectHostConfig {
    #[serde(deserialize_with = "optional_text")]
    pub(crate) network_mode: Option<String>,
    #[serde(deserialize_with = "or_default")]
    memory: i64,
    #[serde(deserialize_with = "or_default")]
    nano_cpus: i64,
    #[serde(deserialize_with = "or_default")]
    cpu_quota: i64,
    #[serde(deserialize_with = "or_default")]
    cpu_period: i64,
    #[serde(deserialize_with = "or_default")]
    cpuset_cpus: String,
}

impl InspectHostConfig {
    /// The CPU time that it may use in each period, and the period, in microseconds; `None` for no
    /// limit.
    pub(crate) fn cpu_quota(&self) -> Option<(u64, u64)> {
        // `--cpus` sets a quota in the kernel's default period.
        let (quota, period) = match self.nano_cpus {
            1.. => (self.nano_cpus / (1_000_000_000 / DEFAULT_PERIOD), DEFAULT_PERIOD),
            _ => (self.cpu_quota, self.period()),
        };
        Some((u64::try_from(quota).ok().filter(|quota| *quota > 0)?, u64::try_from(period).ok()?))
    }

    fn period(&self) -> i64 {
        if self.cpu_period > 0 { self.cpu_period } else { DEFAULT_PERIOD }
    }

    /// The memory limit in bytes, or `None` for no limit.
    pub(crate) fn memory_limit(&self) -> Option<u64> {
        u64::try_from(self.memory).ok().filter(|limit| *limit > 0)
    }

    /// The CPU limit in cores, or `None` for no limit: the smaller of the quota (`docker run --cpus`,
    /// `--cpu-quota`) and the number of CPUs (`--cpuset-cpus`).
    pub(crate) fn cpu_limit(&self) -> Option<f64> {
        // Far below 2^53.
        #[allow(clippy::cast_precision_loss)]
        let quota = if self.nano_cpus > 0 {
            Some(self.nano_cpus as f64 / 1e9)
        } else {
            (self.cpu_quota > 0).then(|| self.cpu_quota as f64 / self.period() as f64)
        };
        let cpus = cpuset_size(&self.cpuset_cpus).map(f64::from);
        quota.into_iter().chain(cpus).reduce(f64::min)
    }
}

/// The number of CPUs in a list such as `0-3,8`; `None` if it is empty or invalid.
fn cpuset_size(cpus: &str) -> Option<u32> {
    let mut set = BTreeSet::new();
    for range in cpus.split(',').map(str::trim) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let range = first.trim().parse::<u16>().ok()?..=last.trim().parse().ok()?;
        if range.is_empty() {
            return None;
        }
        set.extend(range);
    }
    u32::try_from(set.len()).ok()
}

/// A line of `/events`, with fields that API 1.52 still has: it removed `status`, `id` and `from`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct EngineEvent {
    #[serde(deserialize_with = "text")]
    pub(crate) action: String,
    #[serde(deserialize_with = "or_default")]
    pub(crate) actor: EventActor,
    #[serde(rename = "timeNano", deserialize_with = "or_default")]
    pub(crate) time_nano: i64,
    /// Set by Podman, whose action has no detail.
    #[serde(rename = "HealthStatus", deserialize_with = "text")]
    pub(crate) health_status: String,
}

impl EngineEvent {
    /// When it happened by the engine's clock, RFC 3339.
    pub(crate) fn time(&self) -> Option<String> {
        let nanos = Some(i128::from(self.time_nano)).filter(|nanos| *nanos > 0)?;
        OffsetDateTime::from_unix_timestamp_nanos(nanos).ok()?.format(&Rfc3339).ok()
    }

    /// The action, such as `die`, and its detail, such as the new health.
    pub(crate) fn action(&self) -> (&str, Option<&str>) {
        match self.action.split_once(": ") {
            Some((action, detail)) => (action, Some(detail)),
            // Podman's name for it.
            None if self.action == "remove" => ("destroy", None),
            None if !self.health_status.is_empty() => (&self.action, Some(&self.health_status)),
            None => (&self.action, None),
        }
    }
}

/// The container of an [`EngineEvent`].
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct EventActor {
    #[serde(rename = "ID", deserialize_with = "text")]
    pub(crate) id: String,
    #[serde(rename = "Attributes", deserialize_with = "or_default")]
    pub(crate) attributes: EventAttributes,
}

/// The attributes of the container of an [`EngineEvent`]: labels, and others by action.
#[derive(Clone, Debug, Default)]
pub(crate) struct EventAttributes {
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) exit_code: Option<String>,
    pub(crate) labels: ContainerLabels,
}

impl<'de> Deserialize<'de> for EventAttributes {
    // serde's `flatten` would not accept the lenient fields.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Named {
            #[serde(deserialize_with = "text")]
            name: String,
            #[serde(deserialize_with = "text")]
            image: String,
            #[serde(rename = "exitCode", deserialize_with = "optional_text")]
            exit_code: Option<String>,
        }
        let raw = <&RawValue>::deserialize(deserializer)?;
        let Named { name, image, exit_code } = serde_json::from_str(raw.get()).unwrap_or_default();
        let labels = serde_json::from_str(raw.get()).unwrap_or_default();
        Ok(Self { name, image, exit_code, labels })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_name_is_the_one_without_a_second_slash() {
        for (names, name) in [
            // `docker run --link foo:alias --name bar`, as Docker 20.10 lists foo.
            (r#"["/bar/alias","/foo"]"#, "foo"),
            (r#"["/foo","/bar/alias"]"#, "foo"),
            (r#"["/foo"]"#, "foo"),
            // Podman has no slash.
            (r#"["foo"]"#, "foo"),
            (r#"[null,7,"/foo"]"#, "foo"),
            ("[]", "0123456789ab"),
            (r#"["/"]"#, "0123456789ab"),
            (r#"["/bar/alias"]"#, "0123456789ab"),
            ("null", "0123456789ab"),
        ] {
            let json = format!(r#"{{"Id":"0123456789abcdef","Names":{names}}}"#);
            let summary: ContainerSummary = serde_json::from_str(&json).unwrap();
            assert_eq!(summary.name(), name, "{names}");
        }
    }

    #[test]
    fn the_cpu_limit_is_the_smaller_of_quota_and_cpuset() {
        for (settings, limit) in [
            (r#"{"CpusetCpus":"0"}"#, Some(1.0)),
            (r#"{"CpusetCpus":"1","NanoCpus":1500000000}"#, Some(1.0)),
            (r#"{"CpusetCpus":"0-3","NanoCpus":1500000000}"#, Some(1.5)),
            (r#"{"CpusetCpus":"0-2,2,7","CpuQuota":-1}"#, Some(4.0)),
            (r#"{"CpusetCpus":"0, 2-3"}"#, Some(3.0)),
            (r#"{"CpusetCpus":""}"#, None),
            (r#"{"CpusetCpus":"3-1"}"#, None),
            (r#"{"CpusetCpus":"all"}"#, None),
            (r#"{"CpusetCpus":null,"CpuQuota":50000}"#, Some(0.5)),
        ] {
            let parsed: InspectHostConfig = serde_json::from_str(settings).unwrap();
            assert_eq!(parsed.cpu_limit(), limit, "{settings}");
        }
    }

    #[test]
    fn the_quota_is_in_microseconds() {
        for (settings, quota) in [
            (r#"{"NanoCpus":1500000000}"#, Some((150_000, 100_000))),
            (r#"{"CpuQuota":20000,"CpuPeriod":50000}"#, Some((20_000, 50_000))),
            (r#"{"CpuQuota":20000}"#, Some((20_000, 100_000))),
            (r#"{"CpuQuota":-1,"CpuPeriod":50000}"#, None),
            ("{}", None),
        ] {
            let parsed: InspectHostConfig = serde_json::from_str(settings).unwrap();
            assert_eq!(parsed.cpu_quota(), quota, "{settings}");
        }
    }

    #[test]
    fn the_health_in_an_event_is_found_for_both_engines() {
        for (json, expected) in [
            (r#"{"Action":"health_status: healthy"}"#, ("health_status", Some("healthy"))),
            // As Podman 4.3 sends it.
            (
                r#"{"Action":"health_status","HealthStatus":"unhealthy"}"#,
                ("health_status", Some("unhealthy")),
            ),
            (r#"{"Action":"remove"}"#, ("destroy", None)),
            (r#"{"Action":7}"#, ("", None)),
        ] {
            let event: EngineEvent = serde_json::from_str(json).unwrap();
            assert_eq!(event.action(), expected, "{json}");
        }
    }
}
