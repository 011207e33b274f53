//! The path prefix of all routes, for a server behind a proxy that does not strip it.

use super::head::RequestHead;
use super::response::Response;
use super::status;

/// A path prefix such as `/stats`, or the empty string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BasePath(String);

impl BasePath {
    /// Slashes at either end of `path` are optional.
    pub(crate) fn new(path: &str) -> Self {
        let path = path.trim_matches('/');
        Self(if path.is_empty() { String::new() } else { format!("/{path}") })
    }

    /// The path, without a trailing slash.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Removes the base path from a request's path.
    ///
    /// # Errors
    /// The response to a path outside the base path, or to the base path without its slash.
    pub(crate) fn strip_from(&self, head: &mut RequestHead) -> Result<(), Response> {
        let Some(path) = head.path().strip_prefix(&self.0) else {
            return Err(Response::line(status::NOT_FOUND, "not found"));
        };
        if path.is_empty() {
            // The page's relative URLs resolve correctly only with the trailing slash.
            let redirect = Response::line(status::TEMPORARY_REDIRECT, "add a slash to the path");
            let page = format!("{}/{}", self.0, head.short_query());
            return Err(redirect.with_header("Location", page));
        }
        head.strip_path(self.0.len());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(base: &str, path: &str) -> Result<String, u16> {
        let text = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut head = RequestHead::parse(text.as_bytes()).unwrap().unwrap();
        let stripped = BasePath::new(base).strip_from(&mut head);
        stripped.map(|()| head.path().to_owned()).map_err(|response| response.status())
    }

    #[test]
    fn the_redirect_to_the_slash_is_bounded() {
        for (query, kept) in [(1023, true), (1024, false), (15_000, false)] {
            let query = format!("?{}", "/".repeat(query));
            let text = format!("GET /stats{query} HTTP/1.1\r\nHost: x\r\n\r\n");
            let mut head = RequestHead::parse(text.as_bytes()).unwrap().unwrap();
            let response = BasePath::new("//stats").strip_from(&mut head).unwrap_err();
            let text = String::from_utf8(response.bytes("", false)).unwrap();
            let location = if kept { format!("/stats/{query}") } else { "/stats/".to_owned() };
            assert!(text.contains(&format!("\r\nLocation: {location}\r\n")), "{text}");
            assert!(text.len() < 2_048, "{}", text.len());
        }
    }

    #[test]
    fn the_base_path_is_removed_and_other_paths_are_not_found() {
        for base in ["stats", "/stats", "/stats/"] {
            assert_eq!(stripped(base, "/stats/login"), Ok("/login".into()));
            assert_eq!(stripped(base, "/stats"), Err(status::TEMPORARY_REDIRECT));
            assert_eq!(stripped(base, "/login"), Err(status::NOT_FOUND));
            // No route matches a path without a leading slash.
            assert_eq!(stripped(base, "/statslogin"), Ok("login".into()));
        }
        assert_eq!(stripped("/", "/login"), Ok("/login".into()));
    }
}
