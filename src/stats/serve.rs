//! What a server shows of the stats by default.

use std::sync::Arc;

use super::api::Api;
use super::socket::StatsSession;
use crate::ServerConfig;
use crate::server::routes::{Route, RouteOrigin, SessionFactory};

/// Where the stats socket is.
const STATS_SOCKET: &str = "/ws/stats";

impl Default for ServerConfig {
    fn default() -> Self {
        let mut config = Self::bare();
        #[cfg(feature = "dashboard")]
        crate::dashboard::add_pages(&mut config.routes);
        let accept = SessionFactory::Everyone(Arc::new(|hub| Box::new(StatsSession::new(hub))));
        config.routes.add(STATS_SOCKET, Route::Socket(accept), RouteOrigin::Reserved);
        config.routes.reserve("/healthz");
        config.routes.reserve_below("/api/v1/");
        for (path, api) in [
            ("/readyz", Api::Ready),
            ("/metrics", Api::Metrics),
            ("/api/v1/stats", Api::Stats),
            ("/api/v1/projects", Api::Projects),
            ("/api/v1/projects/*", Api::Project),
        ] {
            config.routes.add(path, Route::Deferred(Arc::new(api)), RouteOrigin::Reserved);
        }
        config
    }
}
