//! The list of containers, limited for any response of the engine.

use std::cmp::Reverse;

use serde::{Deserialize, Deserializer};

use super::call::is_plain_id;
use super::json::ContainerSummary;
use super::lenient::for_each_element;
use crate::stats::snapshot::totals::is_running;

/// Maximum number of containers. The oldest stopped ones beyond it are left out, so that thousands
/// of forgotten containers cost neither memory nor bytes on the wire.
pub(crate) const MAX_CONTAINERS: usize = 5_000;
/// Maximum number of running containers: ten times as many as an engine can sample in two seconds.
/// The oldest ones beyond it are left out.
pub(crate) const MAX_RUNNING: usize = 10_000;

/// The response of `/containers/json`, with at most [`MAX_CONTAINERS`] containers, or
/// [`MAX_RUNNING`] if all are running.
#[derive(Debug, Default)]
pub(crate) struct ContainerList {
    pub(crate) containers: Vec<ContainerSummary>,
    /// The number of elements without a usable id.
    pub(crate) skipped: usize,
    /// The number of running containers left out.
    pub(crate) running_left_out: usize,
}

impl ContainerList {
    fn add(&mut self, element: &str) {
        match serde_json::from_str::<ContainerSummary>(element) {
            Ok(container) if is_plain_id(&container.id) => self.containers.push(container),
            Ok(_) | Err(_) => self.skipped += 1,
        }
        // Not for each element, because it sorts.
        if self.containers.len() >= 2 * MAX_RUNNING {
            self.leave_out();
        }
    }

    /// Leaves out the running containers beyond [`MAX_RUNNING`] and the stopped ones beyond
    /// [`MAX_CONTAINERS`], the oldest first.
    fn leave_out(&mut self) {
        let containers = &mut self.containers;
        if containers.len() > MAX_CONTAINERS {
            containers.sort_by_key(|c| (!is_running(&c.state), Reverse(c.created)));
            let running = containers.partition_point(|c| is_running(&c.state));
            self.running_left_out += running.saturating_sub(MAX_RUNNING);
            containers.truncate(running.clamp(MAX_CONTAINERS, MAX_RUNNING));
        }
    }
}

impl<'de> Deserialize<'de> for ContainerList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut list = Self::default();
        for_each_element(deserializer, |element| list.add(element))?;
        list.leave_out();
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A list of containers with these states, the first created last.
    fn parse(states: impl IntoIterator<Item = (usize, &'static str)>) -> ContainerList {
        let elements = states.into_iter().flat_map(|(count, state)| vec![state; count]);
        let json: Vec<String> = elements
            .enumerate()
            .map(|(n, state)| {
                format!(r#"{{"Id":"c{n}","State":"{state}","Created":{}}}"#, 1_000_000 - n)
            })
            .collect();
        serde_json::from_str(&format!("[{}]", json.join(","))).unwrap()
    }

    fn ids(list: &ContainerList) -> Vec<usize> {
        let number = |c: &ContainerSummary| c.id.trim_start_matches('c').parse().unwrap();
        let mut ids: Vec<usize> = list.containers.iter().map(number).collect();
        ids.sort_unstable();
        ids
    }

    #[test]
    fn the_oldest_stopped_containers_are_left_out() {
        // More than are kept while parsing.
        let list = parse([(3 * MAX_RUNNING, "exited"), (7, "running"), (3, "paused")]);
        let newest = (0..MAX_CONTAINERS - 10).chain(3 * MAX_RUNNING..3 * MAX_RUNNING + 10);
        assert!(ids(&list).into_iter().eq(newest));
        assert_eq!(list.running_left_out, 0);
    }

    #[test]
    fn all_running_containers_are_kept_up_to_a_limit() {
        let list = parse([(20, "exited"), (MAX_CONTAINERS + 5, "running")]);
        assert!(ids(&list).into_iter().eq(20..MAX_CONTAINERS + 25));
        let list = parse([(5, "exited"), (3 * MAX_RUNNING, "running"), (5, "exited")]);
        assert!(ids(&list).into_iter().eq(5..MAX_RUNNING + 5), "the newest");
        assert_eq!(list.running_left_out, 2 * MAX_RUNNING);
    }

    #[test]
    fn an_element_without_a_usable_id_is_skipped() {
        let list: ContainerList = serde_json::from_str(
            r#"[{"Id":"a","Created":"soon","Ports":[{"PrivatePort":null},{"PrivatePort":70000},
                {"PrivatePort":80,"PublicPort":null,"Type":7}],"Labels":{
                "com.docker.compose.project":7,"com.docker.compose.service":"web"}},
                {"Id":null},{"Id":"../version"},null,7,{"Names":["/b"]},{"Id":"c","HostConfig":[]}]"#,
        )
        .unwrap();
        assert_eq!(list.skipped, 5);
        let ids: Vec<&str> = list.containers.iter().map(|c| c.id.as_str()).collect();
        assert_eq!(ids, ["a", "c"]);
        let a = list.containers.first().unwrap();
        assert_eq!((a.created, a.labels.project(), a.labels.service()), (None, None, Some("web")));
        let ports: Vec<String> = a.ports.iter().map(ToString::to_string).collect();
        assert_eq!(ports, ["80/tcp"]);
        assert!(serde_json::from_str::<ContainerList>("{}").is_err(), "not a list");
    }
}
