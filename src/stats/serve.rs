//! The default routes of a server: the dashboard, the stats socket and the HTTP endpoints.

use std::sync::Arc;

use super::endpoints::StatsEndpoint;
use super::socket::StatsSession;
use crate::ServerConfig;
use crate::server::routes::{Route, RouteOrigin, SessionFactory};

const STATS_SOCKET_PATH: &str = "/ws/stats";

impl Default for ServerConfig {
    fn default() -> Self {
        let mut config = Self::bare();
        #[cfg(feature = "dashboard")]
        super::dashboard::add_pages(&mut config.routes);
        let accept = SessionFactory::Infallible(Arc::new(|hub| Box::new(StatsSession::new(hub))));
        config.routes.add(STATS_SOCKET_PATH, Route::Socket(accept), RouteOrigin::Reserved);
        config.routes.reserve("/healthz");
        config.routes.reserve_below("/api/v1/");
        for (path, endpoint) in [
            ("/readyz", StatsEndpoint::Ready),
            ("/metrics", StatsEndpoint::Metrics),
            ("/api/v1/stats", StatsEndpoint::Stats),
            ("/api/v1/projects", StatsEndpoint::Projects),
            ("/api/v1/projects/*", StatsEndpoint::ProjectStats),
        ] {
            config.routes.add(path, Route::Deferred(Arc::new(endpoint)), RouteOrigin::Reserved);
        }
        config
    }
}
