//! The responses of the fake engine that are not streams.

use std::io::{self, Write};

use serde_json::Value;
use time::format_description::well_known::Rfc3339;

use super::Kind;
use super::containers::{recorded, sample};
use super::server::Connection;
use super::state::lock;

impl Connection<'_> {
    pub(super) fn version(&self) -> io::Result<()> {
        let (api, own, podman) = {
            let state = lock(self.shared);
            (state.api, state.version, state.kind == Kind::Podman)
        };
        let mut version: Value =
            recorded(include_str!("../../../fixtures/docker-20.10-version.json"));
        version["ApiVersion"] = api.into();
        if podman {
            version["Version"] = "4.3.1".into();
        }
        if let Some(own) = own {
            version["Version"] = own.into();
        }
        self.json(200, &version.to_string())
    }

    pub(super) fn list(&self, query: &str) -> io::Result<()> {
        let state = lock(self.shared);
        if let Some((elements, times)) = state.list.clone() {
            drop(state);
            return self.repeated_list(&elements, times);
        }
        let all = query.contains("all=1");
        let listed: Vec<&str> = state
            .containers
            .iter()
            .filter(|(id, c)| {
                let runs = matches!(c.fake.state.as_str(), "running" | "paused");
                (runs || all) && (!query.contains("filters") || query.contains(id.as_str()))
            })
            .map(|(_, container)| container.listed.as_str())
            .collect();
        let listed = format!("[{}]", listed.join(","));
        drop(state);
        self.json(200, &listed)
    }

    /// Sends an array of these elements. It is not built, because a test measures the memory of this
    /// process.
    fn repeated_list(&self, elements: &str, times: usize) -> io::Result<()> {
        self.head(200, "Connection: close\r\n")?;
        let mut stream = &**self.stream;
        stream.write_all(b"[")?;
        for _ in 1..times {
            stream.write_all(elements.as_bytes())?;
        }
        stream.write_all(elements.trim_end_matches(',').as_bytes())?;
        stream.write_all(b"]")?;
        Err(io::ErrorKind::Other.into())
    }

    pub(super) fn inspect(&self, id: &str) -> io::Result<()> {
        let state = lock(self.shared);
        let Some(container) = state.containers.get(id) else {
            drop(state);
            return self.json(404, "{\"message\":\"No such container\"}\n");
        };
        let mut response = recorded(include_str!("../../../fixtures/docker-20.10-inspect.json"));
        response["State"]["StartedAt"] = container.started.format(&Rfc3339).unwrap().into();
        let fake = &container.fake;
        response["State"]["Status"] = fake.state.clone().into();
        response["RestartCount"] = 0.into();
        response["State"]["ExitCode"] = fake.exit_code.into();
        response["State"]["OOMKilled"] = fake.oom_killed.into();
        if fake.state == "exited" {
            response["State"]["FinishedAt"] = response["State"]["StartedAt"].clone();
        }
        response["HostConfig"]["NetworkMode"] = container.fake.network_mode.clone().into();
        drop(state);
        self.json(200, &response.to_string())
    }

    /// Sleeps for the engine's latency.
    pub(super) fn delay(&self) {
        let latency = lock(self.shared).latency;
        if !latency.is_zero() {
            let _ = crossbeam_channel::after(latency).recv();
        }
    }

    pub(super) fn one_shot(&self, id: &str) -> io::Result<()> {
        let (kind, pass) = {
            let state = lock(self.shared);
            (state.kind, state.pass)
        };
        // The next pass may be due at once, and kentros would take this for a direct engine.
        let state = self.wait(|state| kind != Kind::Stream || state.pass > pass + 1)?;
        // A direct engine before 29 sends neither id nor name.
        let named = kind != Kind::Direct;
        let sample = state.containers.get(id).map(|container| sample(id, container, named));
        drop(state);
        self.delay();
        match sample {
            Some(sample) => self.json(200, &sample),
            None => self.json(404, "{\"message\":\"No such container\"}\n"),
        }
    }
}
