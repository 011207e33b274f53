//! The cookie that a browser gets when it logs in.

use std::io;

use data_encoding::BASE64URL_NOPAD;
use rustix::rand::{GetRandomFlags, getrandom};

use super::secret::Secret;
use crate::http::base_path::BasePath;
use crate::http::head::RequestHead;

const NAME: &str = "kentros_session";

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

    /// The value of `Set-Cookie`. The path keeps the cookie from other servers on the same host.
    pub(crate) fn set_cookie(&self, base: &BasePath, https: bool) -> String {
        let secure = if https { "; Secure" } else { "" };
        let (value, path) = (&self.value, base.as_str());
        format!("{NAME}={value}; Path={path}/; HttpOnly; SameSite=Strict{secure}")
    }
}
