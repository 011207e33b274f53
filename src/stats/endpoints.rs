//! The HTTP endpoints: the JSON API, `/metrics` and `/readyz`.

use tungstenite::Bytes;

use super::messages::CONTAINER_STATS;
use super::metrics;
use crate::HubHandle;
use crate::connection::frame::Frame;
use crate::http::request::Request;
use crate::http::response::Response;
use crate::http::status;
use crate::hub::Query;
use crate::server::routes::{DeferredRoute, Respond};

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
        authorized: bool,
        hub: &HubHandle,
        respond: Respond,
    ) -> Result<(), Response> {
        let key = match self {
            Self::Ready => {
                hub.stats().health_check(Box::new(move |result| {
                    respond(Box::new(move || ready_response(result, authorized)));
                }));
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
                    Response::json_text(Bytes::from_owner(FrameText(frame)))
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

    fn timeout(&self, authorized: bool, hub: &HubHandle) -> Response {
        let error = match self {
            Self::Ready => {
                let why = "the stats source did not respond in time";
                hub.stats().readiness.timed_out(why);
                return ready_response(Err(why.to_owned()), authorized);
            }
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

/// The reason may name addresses and paths, so only authorized clients get it.
fn ready_response(result: Result<(), String>, authorized: bool) -> Response {
    match result {
        Ok(()) => Response::line(status::OK, "ready"),
        Err(why) if authorized => Response::line(status::UNAVAILABLE, &why),
        Err(_) => Response::line(status::UNAVAILABLE, "not ready"),
    }
}

/// The text of a frame, shared with the clients it is sent to.
struct FrameText(Frame);

impl AsRef<[u8]> for FrameText {
    fn as_ref(&self) -> &[u8] {
        self.0.as_text().unwrap_or_default().as_bytes()
    }
}

fn stats_response(hub: &HubHandle, project: Option<&str>) -> Response {
    // The streamer may have cleared it since the query.
    let Some(latest) = hub.stats().latest() else {
        return Response::line(status::UNAVAILABLE, "no stats available; try again");
    };
    let document = match project {
        None => latest.stats().map(Some),
        Some(id) => latest.project_stats(id),
    };
    match document {
        Ok(Some(json)) => Response::json_text(json),
        Ok(None) => {
            let id = project.unwrap_or_default();
            Response::line(status::NOT_FOUND, &format!("no such project: {id:?}"))
        }
        Err(error) => Response::line(status::INTERNAL_ERROR, &error.to_string()),
    }
}

fn metrics_response(hub: &HubHandle) -> Response {
    match hub.stats().latest() {
        Some(latest) => metrics::response(hub, latest.metrics()),
        None => hub_metrics_response(hub),
    }
}

/// The metrics without those of containers.
fn hub_metrics_response(hub: &HubHandle) -> Response {
    metrics::response(hub, Bytes::new())
}

#[cfg(test)]
mod tests {
    use std::sync::{Barrier, mpsc};
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::http::head::RequestHead;
    use crate::{ContainerStats, Hub, HubConfig, Snapshot};

    fn publish(hub: &HubHandle, containers: usize) {
        let row = |n| {
            let mut row = ContainerStats::new("shop", format!("web-{n}"));
            row.pids = Some(1);
            (format!("c{n}"), row)
        };
        let rows: Vec<_> = (0..containers).map(row).collect();
        hub.publish_snapshot(Snapshot::from_rows(rows, &[], Duration::MAX).unwrap()).unwrap();
    }

    /// The bodies of this many concurrent responses.
    fn bodies(hub: &HubHandle, path: &str, endpoint: StatsEndpoint, requests: usize) -> Vec<Bytes> {
        let head = RequestHead::parse(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
        let peer = ([127, 0, 0, 1], 1).into();
        let request = Request::new(head.unwrap().unwrap(), peer, "/api/v1/projects/*");
        let (send, responses) = mpsc::channel();
        for _ in 0..requests {
            let send = send.clone();
            let respond = Box::new(move |response| send.send(response).unwrap());
            endpoint.request(&request, true, hub, respond).unwrap();
        }
        let start = Barrier::new(requests);
        thread::scope(|scope| {
            let made = responses.iter().take(requests).map(|make| {
                scope.spawn(|| {
                    start.wait();
                    make().parts("", false).1
                })
            });
            let made: Vec<_> = made.collect();
            made.into_iter().map(|body| body.join().unwrap()).collect()
        })
    }

    #[test]
    fn a_hundred_concurrent_requests_share_one_document_of_a_snapshot() {
        let hub = Hub::spawn(HubConfig::default()).unwrap();
        for (path, endpoint) in [
            ("/metrics", StatsEndpoint::Metrics),
            ("/api/v1/stats", StatsEndpoint::Stats),
            ("/api/v1/projects/shop/stats", StatsEndpoint::ProjectStats),
        ] {
            publish(&hub.handle(), 500);
            let first = bodies(&hub.handle(), path, endpoint, 100);
            assert!(first[0].len() > 500, "{path}");
            assert!(first.iter().all(|body| body.as_ptr() == first[0].as_ptr()), "{path}");
            publish(&hub.handle(), 500);
            let next = bodies(&hub.handle(), path, endpoint, 1);
            assert_ne!(next[0].as_ptr(), first[0].as_ptr(), "{path}: the next snapshot");
        }
    }

    #[test]
    fn requests_for_the_projects_share_the_message_of_the_hub() {
        let hub = Hub::spawn(HubConfig::default()).unwrap();
        let list = crate::Message::new("project_list", [1, 2, 3]).latest();
        hub.handle().broadcast(&list).unwrap();
        let both = bodies(&hub.handle(), "/api/v1/projects", StatsEndpoint::Projects, 2);
        assert_eq!(both[0], list.to_json().unwrap());
        assert_eq!(both[0].as_ptr(), both[1].as_ptr());
    }
}
