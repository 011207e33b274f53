//! The HTTP endpoints: the JSON API, `/metrics` and `/readyz`.

use super::messages::CONTAINER_STATS;
use super::metrics;
use crate::connection::frame::Frame;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::status;
use crate::hub::Query;
use crate::server::routes::{DeferredRoute, Respond};
use crate::{HubHandle, Interest};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StatsEndpoint {
    Ready,
    /// The latest `container_stats`.
    Stats,
    /// The latest `project_list`.
    Projects,
    /// The latest `container_stats` of one project.
    ProjectStats,
    Metrics,
}

impl DeferredRoute for StatsEndpoint {
    fn request(
        &self,
        request: &Request,
        hub: &HubHandle,
        respond: Respond,
    ) -> Result<(), Response> {
        let key = match self {
            Self::Ready => {
                hub.stats()
                    .health_check(Box::new(|result| respond(Box::new(|| ready_response(result)))));
                return Ok(());
            }
            Self::Projects => "project_list",
            Self::Stats | Self::ProjectStats | Self::Metrics => CONTAINER_STATS,
        };
        let project = match self {
            Self::ProjectStats => Some(project_id(request.tail())?),
            _ => None,
        };
        let (endpoint, handle) = (*self, hub.clone());
        let responder = Box::new(move |latest: Result<Option<Frame>, String>| {
            respond(Box::new(move || match (endpoint, latest) {
                (Self::Metrics, Ok(_)) => metrics_response(&handle),
                // Without the engine, the hub's own metrics are still available.
                (Self::Metrics, Err(_)) => hub_metrics_response(&handle),
                (Self::Projects, Ok(Some(frame))) => {
                    Response::json_text(frame.as_text().unwrap_or_default().to_owned())
                }
                (_, Ok(_)) => stats_response(&handle, project.as_deref()),
                (_, Err(error)) => Response::line(status::UNAVAILABLE, &error),
            }));
        });
        hub.query(Query::Latest(key), responder)
            .map_err(|_| Response::line(status::UNAVAILABLE, "the hub has stopped"))
    }

    fn serves_other_origins(&self) -> bool {
        *self == Self::Ready
    }

    fn timeout(&self, hub: &HubHandle) -> Response {
        let error = match self {
            Self::Ready => "the stats source did not respond in time",
            Self::Metrics => return hub_metrics_response(hub),
            Self::Projects | Self::Stats | Self::ProjectStats => {
                "no stats yet; see /readyz for the reason"
            }
        };
        Response::line(status::UNAVAILABLE, error)
    }
}

/// The project id in the path `{id}/stats`.
fn project_id(tail: &str) -> Result<String, Response> {
    tail.strip_suffix("/stats")
        .map(str::to_owned)
        .ok_or_else(|| Response::line(status::NOT_FOUND, "not found"))
}

fn ready_response(result: Result<(), String>) -> Response {
    match result {
        Ok(()) => Response::line(status::OK, "ready"),
        Err(error) => Response::line(status::UNAVAILABLE, &error),
    }
}

fn stats_response(hub: &HubHandle, project: Option<&str>) -> Response {
    // The streamer may have cleared it since the query.
    let Some(latest) = hub.stats().latest() else {
        return Response::line(status::UNAVAILABLE, "no stats available; try again");
    };
    let interest = match project {
        None => Interest::all(),
        Some(id) if latest.has_project(id) => Interest::only([id]),
        Some(id) => {
            return Response::line(status::NOT_FOUND, &format!("no such project: {id:?}"));
        }
    };
    match latest.container_stats(&interest).to_json() {
        Ok(json) => Response::json_text(json),
        Err(error) => Response::line(status::INTERNAL_ERROR, &error.to_string()),
    }
}

fn metrics_response(hub: &HubHandle) -> Response {
    match hub.stats().latest() {
        Some(latest) => metrics::response(hub, latest.containers()),
        None => hub_metrics_response(hub),
    }
}

/// The metrics without those of containers.
fn hub_metrics_response(hub: &HubHandle) -> Response {
    metrics::response(hub, &[])
}
