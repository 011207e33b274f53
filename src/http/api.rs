//! The endpoints beside the socket: what each asks the hub, and what the answer means.

use percent_encoding::percent_decode_str;

use super::metrics;
use super::response::{Response, Status};
use crate::counters::Counters;
use crate::hub::{Question, Reply};
use crate::registry::Projects;

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    Health,
    Ready,
    /// The newest `container_stats`.
    Stats,
    /// The newest `project_list`.
    Projects,
    /// The newest `container_stats`, of one project.
    Project(String),
    Metrics,
}

impl Api {
    /// The endpoint at this path.
    pub(crate) fn at(path: &str) -> Option<Self> {
        Some(match path {
            "/healthz" => Self::Health,
            "/readyz" => Self::Ready,
            "/metrics" => Self::Metrics,
            "/api/v1/stats" => Self::Stats,
            "/api/v1/projects" => Self::Projects,
            _ => {
                let id = path.strip_prefix("/api/v1/projects/")?.strip_suffix("/stats")?;
                Self::Project(percent_decode_str(id).decode_utf8().ok()?.into_owned())
            }
        })
    }

    pub(crate) fn question(&self) -> Question {
        match self {
            Self::Health => Question::Alive,
            Self::Ready => Question::Ready,
            Self::Stats | Self::Project(_) | Self::Metrics => Question::Latest("container_stats"),
            Self::Projects => Question::Latest("project_list"),
        }
    }

    /// What the hub's reply means over HTTP.
    pub(crate) fn response(&self, reply: Result<Reply, String>, counters: &Counters) -> Response {
        match (self, reply) {
            (Self::Health, Ok(_)) => Response::text(Status::Ok, "ok"),
            (Self::Ready, Ok(_)) => Response::text(Status::Ok, "ready"),
            (Self::Metrics, Ok(Reply::Snapshot(shot))) => {
                metrics(counters, shot.snapshot().containers())
            }
            // Our own figures are there whatever the engine does.
            (Self::Metrics, _) => metrics(counters, &[]),
            (Self::Project(id), Ok(Reply::Snapshot(shot))) => {
                if shot.knows(id) {
                    Response::json(shot.container_stats(&Projects::from([id.clone()])))
                } else {
                    Response::text(Status::NotFound, &format!("no project is called {id:?}"))
                }
            }
            (_, Ok(Reply::Snapshot(shot))) => {
                Response::json(shot.container_stats(&Projects::new()))
            }
            (_, Ok(Reply::Message(frame))) => {
                Response::json(frame.as_text().unwrap_or_default().to_owned())
            }
            (_, Ok(Reply::Yes)) => Response::text(Status::Ok, "ok"),
            (_, Err(why)) => Response::text(Status::Unavailable, &why),
        }
    }

    /// What is answered when the hub has had nothing to say for too long.
    pub(crate) fn too_late(&self, counters: &Counters) -> Response {
        let why = match self {
            Self::Health => "the hub does not answer",
            Self::Ready => "the engine does not answer in time",
            _ => "no answer from the engine yet: /readyz says why",
        };
        self.response(Err(why.into()), counters)
    }
}

fn metrics(counters: &Counters, rows: &[(String, crate::ContainerStats)]) -> Response {
    let text = metrics::text(counters, rows).into_bytes();
    Response::new(Status::Ok, "text/plain; version=0.0.4; charset=utf-8", text)
}
