//! Access control: host, origin and token checks, and the login.
//!
//! [`request_guard`] runs every check on a request; [`authenticator`] checks the token.

pub(crate) mod authenticator;
pub(crate) mod login;
pub(crate) mod request_guard;
mod secret;
mod session_cookie;
pub(crate) mod token;
