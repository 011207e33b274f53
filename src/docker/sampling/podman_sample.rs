//! The JSON of Podman's own samples, and the [`Reading`] made from it.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use time::OffsetDateTime;

use super::sample::{add, known, positive};
use crate::docker::engine::lenient::{self, Count, Field, or_default};
use crate::docker::engine::list::MAX_RUNNING;
use crate::stats::payload::Unavailable;
use crate::stats::reading::Reading;

/// A frame of Podman's `/libpod/containers/stats`, with a sample of each container.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PodmanFrame {
    #[serde(rename = "Error", deserialize_with = "or_default")]
    pub(crate) error: Option<Box<RawValue>>,
    #[serde(rename = "Stats", deserialize_with = "lenient::elements::<_, _, MAX_RUNNING>")]
    pub(crate) stats: Vec<PodmanSample>,
}

/// The sample of one container in a [`PodmanFrame`].
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct PodmanSample {
    #[serde(rename = "ContainerID", deserialize_with = "or_default")]
    pub(crate) container_id: String,
    #[serde(rename = "PerCPU", deserialize_with = "or_default")]
    per_cpu: Vec<IgnoredAny>,
    #[serde(rename = "CPUNano")]
    cpu_nano: Field<Count>,
    /// The time of the sample, nanoseconds since 1970.
    #[serde(deserialize_with = "or_default")]
    system_nano: u64,
    mem_usage: Field<Count>,
    mem_limit: Field<Count>,
    net_input: Field<Count>,
    net_output: Field<Count>,
    #[serde(deserialize_with = "or_default")]
    network: Option<HashMap<String, PodmanNetworkCounters>>,
    block_input: Field<Count>,
    block_output: Field<Count>,
    #[serde(rename = "PIDs")]
    pids: Field<Count>,
}

/// Since Podman 5 the counters are per network.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct PodmanNetworkCounters {
    rx_bytes: Field<Count>,
    tx_bytes: Field<Count>,
}

impl PodmanSample {
    /// The reading; `None` if there is no time in it. `swapped`: before 4.4 Podman swaps bytes
    /// received and sent (podman issue 16618).
    pub(crate) fn reading(&self, swapped: bool) -> Option<Reading> {
        if self.system_nano == 0 {
            return None;
        }
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.system_nano)).ok()?;
        let cpus = self.per_cpu.len();
        Some(Reading {
            cpu: known(self.cpu_nano),
            online_cpus: cpus.try_into().ok().filter(|n| *n > 0).ok_or(Unavailable::EngineError),
            // A running process always uses memory.
            memory: match known(self.mem_usage) {
                Ok(0) => Err(Unavailable::MemoryCgroupDisabled),
                usage if self.mem_usage != Field::Missing => usage,
                _ => Err(Unavailable::MemoryCgroupDisabled),
            },
            memory_limit: known(self.mem_limit).and_then(positive),
            network: self.network(swapped),
            block: known(self.block_input).and_then(|read| Ok((read, known(self.block_output)?))),
            pids: known(self.pids),
            ..Reading::not_reported(at)
        })
    }

    fn network(&self, swapped: bool) -> Option<(u64, u64)> {
        if let (Ok(input), Ok(output)) = (known(self.net_input), known(self.net_output)) {
            return Some(if swapped { (output, input) } else { (input, output) });
        }
        self.network.as_ref()?.values().try_fold((0, 0), |(rx, tx), network| {
            Some((add(rx, network.rx_bytes).ok()?, add(tx, network.tx_bytes).ok()?))
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    // `case_tests` checks the values.

    #[test]
    fn a_sample_without_a_time_has_no_reading() {
        let without_time: PodmanSample = serde_json::from_str(r#"{"ContainerID":"a"}"#).unwrap();
        assert_eq!(without_time.reading(false), None);
    }

    #[test]
    fn a_frame_may_have_an_error_and_no_samples() {
        let frame: PodmanFrame = serde_json::from_str(r#"{"Error":{},"Stats":null}"#).unwrap();
        assert!(frame.error.is_some() && frame.stats.is_empty());
    }
}
