//! An element of `project_list`, made of what the inventory holds: a list of thousands of
//! containers is encoded without a copy of it.

use serde::Serialize;

use crate::STANDALONE;
use crate::stats::payload::Container;
use crate::stats::snapshot::totals::is_running;

/// On the wire the same as a [`Project`](crate::stats::payload::Project).
#[derive(Debug, Serialize)]
pub(crate) struct ListedProject<'a> {
    pub(crate) id: &'a str,
    name: &'a str,
    pub(crate) status: &'static str,
    /// By name.
    pub(crate) containers: Vec<&'a Container>,
}

impl<'a> ListedProject<'a> {
    /// The project of this id, which has these containers.
    pub(crate) fn new(id: &'a str, mut containers: Vec<&'a Container>) -> Self {
        containers.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        let running = containers.iter().filter(|c| is_running(&c.state)).count();
        let status = match running {
            0 => "stopped",
            n if n == containers.len() => "running",
            _ => "partial",
        };
        let name = if id == STANDALONE { "standalone" } else { id };
        Self { id, name, status, containers }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::stats::payload::Project;

    #[test]
    fn it_is_a_project_on_the_wire() {
        let container = |name: &str, state: &str| Container {
            name: name.to_owned(),
            state: state.to_owned(),
            ports: vec!["80/tcp".to_owned()],
            ..Container::default()
        };
        let (web, db) = (container("web", "exited"), container("db", "running"));
        let project = Project {
            id: "shop".to_owned(),
            name: "shop".to_owned(),
            status: "partial".to_owned(),
            containers: vec![db.clone(), web.clone()],
        };
        let listing = serde_json::to_string(&ListedProject::new("shop", vec![&web, &db])).unwrap();
        assert_eq!(listing, serde_json::to_string(&project).unwrap());
        assert_eq!(ListedProject::new(STANDALONE, vec![&db]).name, "standalone");
        assert_eq!(ListedProject::new("shop", vec![&web]).status, "stopped");
    }
}
