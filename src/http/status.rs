//! HTTP status codes: RFC 9110, section 15; 429 and 431: RFC 6585.

pub(crate) const OK: u16 = 200;
pub(crate) const SEE_OTHER: u16 = 303;
pub(crate) const TEMPORARY_REDIRECT: u16 = 307;
pub(crate) const BAD_REQUEST: u16 = 400;
pub(crate) const UNAUTHORIZED: u16 = 401;
pub(crate) const FORBIDDEN: u16 = 403;
pub(crate) const NOT_FOUND: u16 = 404;
pub(crate) const METHOD_NOT_ALLOWED: u16 = 405;
pub(crate) const REQUEST_TIMEOUT: u16 = 408;
pub(crate) const LENGTH_REQUIRED: u16 = 411;
pub(crate) const CONTENT_TOO_LARGE: u16 = 413;
pub(crate) const UPGRADE_REQUIRED: u16 = 426;
pub(crate) const TOO_MANY_REQUESTS: u16 = 429;
pub(crate) const HEAD_TOO_LARGE: u16 = 431;
pub(crate) const INTERNAL_ERROR: u16 = 500;
pub(crate) const UNAVAILABLE: u16 = 503;

/// The reason phrase; empty for an unknown status.
pub(crate) fn reason(status: u16) -> &'static str {
    match status {
        OK => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        SEE_OTHER => "See Other",
        304 => "Not Modified",
        TEMPORARY_REDIRECT => "Temporary Redirect",
        308 => "Permanent Redirect",
        BAD_REQUEST => "Bad Request",
        UNAUTHORIZED => "Unauthorized",
        402 => "Payment Required",
        FORBIDDEN => "Forbidden",
        NOT_FOUND => "Not Found",
        METHOD_NOT_ALLOWED => "Method Not Allowed",
        406 => "Not Acceptable",
        REQUEST_TIMEOUT => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        LENGTH_REQUIRED => "Length Required",
        412 => "Precondition Failed",
        CONTENT_TOO_LARGE => "Content Too Large",
        415 => "Unsupported Media Type",
        418 => "I'm a Teapot",
        422 => "Unprocessable Content",
        UPGRADE_REQUIRED => "Upgrade Required",
        TOO_MANY_REQUESTS => "Too Many Requests",
        HEAD_TOO_LARGE => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        INTERNAL_ERROR => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        UNAVAILABLE => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "",
    }
}
