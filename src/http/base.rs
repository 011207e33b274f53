//! The path below which everything is, behind a proxy that passes paths on as they come.

use super::head::Head;
use super::response::Response;
use super::status;

/// `/path`, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Base(String);

impl Base {
    /// Below this path, however many slashes it comes with.
    pub(crate) fn new(path: &str) -> Self {
        let path = path.trim_matches('/');
        Self(if path.is_empty() { String::new() } else { format!("/{path}") })
    }

    /// As it stands behind the server's address.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Takes the base off a request's path: all that looks at paths knows them without it.
    ///
    /// # Errors
    /// The answer to a path that is not below it.
    pub(crate) fn enter(&self, head: &mut Head) -> Result<(), Response> {
        let Some(path) = head.path().strip_prefix(&self.0) else {
            return Err(Response::line(status::NOT_FOUND, "nothing is here"));
        };
        if path.is_empty() {
            // The page's own addresses are relative to it: without the slash they would miss.
            let page = format!("{}/{}", self.0, head.query());
            let answer = Response::line(status::TEMPORARY_REDIRECT, &page);
            return Err(answer.with_header("Location", page));
        }
        head.strip_path(self.0.len());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entered(base: &str, path: &str) -> Result<String, u16> {
        let text = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        let mut head = Head::parse(text.as_bytes()).unwrap().unwrap();
        let entered = Base::new(base).enter(&mut head);
        entered.map(|()| head.path().to_owned()).map_err(|answer| answer.status())
    }

    #[test]
    fn what_is_below_it_is_known_without_it() {
        for base in ["stats", "/stats", "/stats/"] {
            assert_eq!(entered(base, "/stats/login"), Ok("/login".into()));
            assert_eq!(entered(base, "/stats"), Err(status::TEMPORARY_REDIRECT));
            assert_eq!(entered(base, "/login"), Err(status::NOT_FOUND));
            // Nothing that is served begins without a slash.
            assert_eq!(entered(base, "/statslogin"), Ok("login".into()));
        }
        assert_eq!(entered("/", "/login"), Ok("/login".into()));
    }
}
