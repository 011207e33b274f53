//! Access control: host, origin and token checks, and the login.
//!
//! [`request_guard`] runs every check on a request; [`authenticator`] checks the token, and
//! [`guess_limiter`] limits how often.

pub(crate) mod authenticator;
mod guess_limiter;
pub(crate) mod login;
pub(crate) mod request_guard;
mod secret;
mod session_cookie;
pub(crate) mod token;
