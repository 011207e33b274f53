//! The containers of the fake engine and what it says of them, made from recorded responses.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Instant;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Kind;

/// A container to add.
#[derive(Clone, Debug)]
pub(crate) struct FakeContainer {
    pub(crate) name: String,
    pub(crate) project: Option<String>,
    pub(crate) state: String,
    /// The CPU cores that it uses.
    pub(crate) cores: f64,
    pub(crate) network_mode: String,
    pub(crate) exit_code: i64,
    pub(crate) oom_killed: bool,
    /// The size of a sample in bytes, with as many block devices as that takes.
    pub(crate) sample_size: Option<usize>,
}

impl FakeContainer {
    pub(crate) fn new(name: &str, project: &str) -> Self {
        Self {
            name: name.to_owned(),
            project: Some(project.to_owned()),
            state: "running".to_owned(),
            cores: 0.25,
            network_mode: "default".to_owned(),
            exit_code: 0,
            oom_killed: false,
            sample_size: None,
        }
    }

    /// A container that was killed for lack of memory.
    pub(crate) fn oom_killed(name: &str, project: &str) -> Self {
        Self {
            state: "exited".to_owned(),
            exit_code: 137,
            oom_killed: true,
            ..Self::new(name, project)
        }
    }

    /// Its Compose labels.
    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        let label =
            |key: &str, value: &str| (format!("com.docker.compose.{key}"), value.to_owned());
        let project = self.project.as_deref().map(|p| label("project", p));
        project.into_iter().chain([label("service", &self.name)]).collect()
    }
}

#[derive(Clone, Debug)]
pub(super) struct Container {
    pub(super) fake: FakeContainer,
    /// When its counters were zero.
    pub(super) started: OffsetDateTime,
    pub(super) created: i64,
    /// Its entry in lists.
    pub(super) listed: String,
}

pub(super) fn recorded(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The CPU time used up to `now` in nanoseconds. It follows the clock exactly, so the CPU usage is
/// known however late a sample is.
pub(super) fn cpu_time(container: &Container, now: OffsetDateTime) -> u64 {
    let elapsed = (now - container.started).whole_nanoseconds();
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let used = (elapsed as f64 * container.fake.cores) as u64;
    used
}

/// A recorded response with placeholders, so that thousands of them are cheap to make.
struct Template(Vec<String>);

impl Template {
    /// `"@@"` marks a placeholder.
    fn new(response: &Value) -> Self {
        Self(response.to_string().split("\"@@\"").map(str::to_owned).collect())
    }

    /// Fills in the values, which are ordered by the names of their members.
    fn with(&self, values: &[Value]) -> String {
        assert_eq!(self.0.len(), values.len() + 1);
        let values = values.iter().map(Value::to_string).chain([String::new()]);
        self.0.iter().zip(values).fold(String::new(), |all, (part, value)| all + part + &value)
    }
}

/// An entry in the list of containers.
static LISTED: LazyLock<Template> = LazyLock::new(|| {
    let mut entry = recorded(include_str!("../../../fixtures/docker-20.10-list.json"))[0].take();
    for member in ["Id", "Names", "Created", "State", "Labels", "HostConfig"] {
        entry[member] = "@@".into();
    }
    Template::new(&entry)
});

pub(super) fn listed(id: &str, fake: &FakeContainer, created: i64, kind: Kind) -> String {
    let host = match kind {
        // Podman does not list the host configuration.
        Kind::Podman => Value::Null,
        Kind::Direct | Kind::Stream => json!({ "NetworkMode": fake.network_mode }),
    };
    let names = json!([format!("/{}", fake.name)]);
    let labels = json!(fake.labels());
    let state = fake.state.as_str().into();
    LISTED.with(&[created.into(), host, id.into(), labels, names, state])
}

/// The number of CPUs in the recorded sample.
const ONLINE_CPUS: u64 = 2;

/// Samples with and without networks, and each with and without an id and a name.
static SAMPLES: LazyLock<[[Template; 2]; 2]> = LazyLock::new(|| {
    let mut sample = recorded(include_str!("../../../fixtures/docker-20.10-sample.json"));
    sample["cpu_stats"]["cpu_usage"]["total_usage"] = "@@".into();
    sample["cpu_stats"]["system_cpu_usage"] = "@@".into();
    for member in ["read", "id", "name"] {
        sample[member] = "@@".into();
    }
    let without = |mut sample: Value, members: &[&str]| {
        for member in members {
            sample.as_object_mut().unwrap().remove(*member);
        }
        Template::new(&sample)
    };
    let both = |sample: &Value, more: &[&str]| {
        let nameless = [more, &["id", "name"]].concat();
        [without(sample.clone(), more), without(sample.clone(), &nameless)]
    };
    [both(&sample, &[]), both(&sample, &["networks"])]
});

pub(super) fn sample(id: &str, container: &Container, named: bool) -> String {
    // From this clock kentros sees that samples which a busy machine delays are right.
    static BOOT: LazyLock<Instant> = LazyLock::new(Instant::now);
    let fake = &container.fake;
    if !matches!(fake.state.as_str(), "running" | "paused") {
        return include_str!("../../../fixtures/docker-20.10-sample-stopped.json")
            .replace('\n', "");
    }
    let host = u64::try_from(BOOT.elapsed().as_nanos()).unwrap() * ONLINE_CPUS;
    let now = OffsetDateTime::now_utc();
    let (cpu, read) = (cpu_time(container, now).into(), now.format(&Rfc3339).unwrap().into());
    let [with_name, nameless] = &SAMPLES[usize::from(fake.network_mode == "host")];
    let sample = if named {
        with_name.with(&[cpu, host.into(), id.into(), format!("/{}", fake.name).into(), read])
    } else {
        nameless.with(&[cpu, host.into(), read])
    };
    match fake.sample_size {
        Some(size) => grow(&sample, size),
        None => sample,
    }
}

/// Fills a sample up to this size with counters of block devices. The last one has read 7 bytes, the
/// others nothing. They are long because a test build parses many short ones slowly.
fn grow(sample: &str, size: usize) -> String {
    const BEGIN: &str = "\"io_service_bytes_recursive\":[";
    const LAST: &str = r#"{"major":8,"minor":0,"op":"Read","value":7}"#;
    let empty = format!(r#"{{"major":8,"minor":0,"op":"Read","value":0{:1000}}},"#, "");
    let at = sample.find(BEGIN).unwrap() + BEGIN.len();
    let missing = size - sample.len() - LAST.len();
    let (empty, spaces) = (empty.repeat(missing / empty.len()), missing % empty.len());
    [&sample[..at], &empty, LAST, &" ".repeat(spaces), &sample[at..]].concat()
}
