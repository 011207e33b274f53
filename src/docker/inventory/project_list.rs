//! An element of the message `project_list`. It borrows from the inventory, so that thousands of
//! containers are encoded without a copy.

use serde::Serialize;

use crate::STANDALONE;
use crate::stats::payload::Container;
use crate::stats::snapshot::totals::is_running;

/// Has the same JSON as [`Project`](crate::stats::payload::Project).
#[derive(Debug, Serialize)]
pub(crate) struct ListedProject<'a> {
    pub(crate) id: &'a str,
    name: &'a str,
    pub(crate) status: &'static str,
    /// Sorted by name.
    pub(crate) containers: Vec<&'a Container>,
}

impl<'a> ListedProject<'a> {
    /// The project with this id and these containers.
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
    fn its_json_is_that_of_a_project() {
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
