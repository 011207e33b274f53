//! What `/metrics` says of a container besides its sample.

use super::Inventory;
use super::entry::{Inspection, InventoryEntry};
use crate::Interest;
use crate::stats::payload::{ContainerStats, PrometheusFields};

impl Inventory {
    /// The facts about the containers of the projects in `interest` that are not running, as far as
    /// they have been inspected.
    pub(crate) fn stopped(&self, interest: &Interest) -> Vec<(String, ContainerStats)> {
        let is_known = |entry: &&InventoryEntry| {
            !entry.is_sampled()
                && matches!(entry.inspection, Inspection::Limits(_))
                && interest.includes(&entry.project)
        };
        let row = |entry: &InventoryEntry| {
            let container = &entry.container;
            let row = ContainerStats {
                service_name: container.service_name.clone(),
                prometheus: self.facts(entry),
                ..ContainerStats::new(&entry.project, &container.name)
            };
            (container.id.clone(), row)
        };
        self.entries.values().filter(is_known).map(row).collect()
    }

    pub(super) fn facts(&self, entry: &InventoryEntry) -> PrometheusFields {
        let container = &entry.container;
        let quota = match entry.inspection {
            Inspection::Limits(limits) => limits.quota,
            Inspection::Pending | Inspection::Running | Inspection::Failed => None,
        };
        let is_inspected = matches!(entry.inspection, Inspection::Limits(_));
        PrometheusFields {
            image: container.image.clone(),
            cpu_quota: quota.map(|(quota, _)| quota),
            cpu_period: quota.map(|(_, period)| period),
            start_time: entry.start_time,
            health_state: match container.health.as_deref() {
                Some("healthy") => Some(1),
                Some(_) => Some(0),
                None => (is_inspected && entry.is_sampled()).then_some(-1),
            },
            exit_code: container.exit_code,
            oom_killed: container.oom_killed,
            oom_events: (self.events == Some(true))
                .then(|| self.incidents.total_oom_kills(&container.id)),
            restart_count: container.restart_count,
            restart_loop: container.restart_loop,
            ..PrometheusFields::default()
        }
    }
}
