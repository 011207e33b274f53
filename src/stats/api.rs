//! The HTTP endpoints of the stats: what each asks, and what the answer means.

use super::metrics;
use super::published::CONTAINER_STATS;
use crate::connection::frame::Frame;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::status;
use crate::hub::Query;
use crate::server::routes::{DeferredRoute, Respond};
use crate::{HubHandle, Interest};

/// One endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    /// Whether the source of stats would answer.
    Ready,
    /// The newest `container_stats`.
    Stats,
    /// The newest `project_list`.
    Projects,
    /// The newest `container_stats`, of one project.
    Project,
    Metrics,
}

impl DeferredRoute for Api {
    fn request(
        &self,
        request: &Request,
        hub: &HubHandle,
        respond: Respond,
    ) -> Result<(), Response> {
        let key = match self {
            Self::Ready => {
                hub.stats().check(Box::new(|outcome| respond(Box::new(|| ready(outcome)))));
                return Ok(());
            }
            Self::Projects => "project_list",
            Self::Stats | Self::Project | Self::Metrics => CONTAINER_STATS,
        };
        let project = match self {
            Self::Project => Some(project(request.tail())?),
            _ => None,
        };
        let (api, at) = (*self, hub.clone());
        let answer = Box::new(move |answer: Result<Option<Frame>, String>| {
            respond(Box::new(move || match (api, answer) {
                (Self::Metrics, Ok(_)) => metrics(&at),
                // Our own figures are there whatever the engine does.
                (Self::Metrics, Err(_)) => metrics_alone(&at),
                (Self::Projects, Ok(Some(frame))) => {
                    Response::json_text(frame.as_text().unwrap_or_default().to_owned())
                }
                (_, Ok(_)) => stats(&at, project.as_deref()),
                (_, Err(why)) => Response::line(status::UNAVAILABLE, &why),
            }));
        });
        hub.query(Query::Latest(key), answer)
            .map_err(|_| Response::line(status::UNAVAILABLE, "the hub has stopped"))
    }

    fn timeout(&self, hub: &HubHandle) -> Response {
        let why = match self {
            Self::Ready => "the source of stats does not answer in time",
            Self::Metrics => return metrics_alone(hub),
            Self::Projects | Self::Stats | Self::Project => {
                "there are no stats yet: /readyz says why"
            }
        };
        Response::line(status::UNAVAILABLE, why)
    }
}

/// The project of `{id}/stats`.
fn project(tail: &str) -> Result<String, Response> {
    tail.strip_suffix("/stats")
        .map(str::to_owned)
        .ok_or_else(|| Response::line(status::NOT_FOUND, "nothing is here"))
}

fn ready(outcome: Result<(), String>) -> Response {
    match outcome {
        Ok(()) => Response::line(status::OK, "ready"),
        Err(why) => Response::line(status::UNAVAILABLE, &why),
    }
}

fn stats(hub: &HubHandle, project: Option<&str>) -> Response {
    // It may have gone since the hub had it.
    let Some(latest) = hub.stats().latest() else {
        return Response::line(status::UNAVAILABLE, "there are no stats any more: try again");
    };
    let interest = match project {
        None => Interest::all(),
        Some(id) if latest.knows(id) => Interest::only([id]),
        Some(id) => {
            return Response::line(status::NOT_FOUND, &format!("no project is called {id:?}"));
        }
    };
    match latest.container_stats(&interest).to_json() {
        Ok(json) => Response::json_text(json),
        Err(error) => Response::line(status::INTERNAL_ERROR, &error.to_string()),
    }
}

fn metrics(hub: &HubHandle) -> Response {
    match hub.stats().latest() {
        Some(latest) => metrics::response(hub, latest.snapshot().containers()),
        None => metrics_alone(hub),
    }
}

fn metrics_alone(hub: &HubHandle) -> Response {
    metrics::response(hub, &[])
}
