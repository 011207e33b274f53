//! The cookie that a login sets.

use std::io;

use data_encoding::BASE64URL_NOPAD;
use rustix::rand::{GetRandomFlags, getrandom};

use super::secret::Secret;
use crate::http::base_path::BasePath;
use crate::http::head::RequestHead;
use crate::http::response::Response;

const NAME: &str = "kentros_session";
/// A second cookie, which scripts can read: if it is set, the dashboard shows the logout button.
const MARK: &str = "kentros_login";

/// The session cookie. Its value is random, new with each server, and the same for every browser:
/// a leaked cookie does not reveal the token.
pub(crate) struct SessionCookie {
    value: String,
    secret: Secret,
}

impl SessionCookie {
    /// # Errors
    /// If the operating system has no random bytes.
    pub(crate) fn generate() -> io::Result<Self> {
        let mut random = [0; 32];
        if getrandom(&mut random, GetRandomFlags::empty())? != random.len() {
            return Err(io::Error::other("too few random bytes"));
        }
        let value = BASE64URL_NOPAD.encode(&random);
        Ok(Self { secret: Secret::new(&value), value })
    }

    /// Whether a request carries this cookie.
    pub(crate) fn is_in(&self, head: &RequestHead) -> bool {
        head.cookies(NAME).any(|value| self.secret.matches(value))
    }

    /// Sets the cookie. The path keeps it from other servers on the same host.
    pub(crate) fn set(&self, response: Response, base: &BasePath, https: bool) -> Response {
        let (path, secure) = (base.as_str(), secure(https));
        let value = &self.value;
        response
            .with_header("Set-Cookie", format!("{MARK}=1; Path={path}/; SameSite=Strict{secure}"))
            .with_header(
                "Set-Cookie",
                format!("{NAME}={value}; Path={path}/; HttpOnly; SameSite=Strict{secure}"),
            )
    }

    /// Removes the cookie.
    pub(crate) fn clear(response: Response, base: &BasePath, https: bool) -> Response {
        let (path, secure) = (base.as_str(), secure(https));
        [MARK, NAME].iter().fold(response, |response, name| {
            response.with_header("Set-Cookie", format!("{name}=; Path={path}/; Max-Age=0{secure}"))
        })
    }
}

/// Browsers send a cookie with this attribute over HTTPS only.
fn secure(https: bool) -> &'static str {
    if https { "; Secure" } else { "" }
}
