//! A parser for an HTTP response that streams lines, fed with bytes as they arrive.
//!
//! Between two calls it holds only an incomplete head, chunk size or line, so an idle stream costs
//! no memory.

use super::client::{MAX_HEAD, MAX_SAMPLE, error_message};
use super::error::EngineError;

/// The longest line accepted, in bytes: a line is a sample.
const MAX_LINE: usize = MAX_SAMPLE;
/// The longest chunk-size line accepted, in bytes, chunk extensions included.
const MAX_SIZE_LINE: usize = 256;
/// Maximum number of header fields of a response.
const MAX_FIELDS: usize = 64;

/// The state of a response that is being received.
#[derive(Debug, Default)]
pub(crate) struct StreamResponse {
    part: ResponsePart,
    /// The bytes of an incomplete head or chunk-size line.
    incomplete: Vec<u8>,
    /// The bytes of an incomplete line.
    line: Vec<u8>,
}

/// The part of the response that comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ResponsePart {
    #[default]
    Head,
    /// The line with the size of a chunk.
    ChunkSize,
    /// The rest of a chunk, in bytes.
    Chunk(u64),
    /// The line break after a chunk.
    ChunkEnd,
    /// The rest of a body with `Content-Length`, in bytes.
    Length(u64),
    /// A body that ends with the connection.
    UntilClosed,
    /// The body is complete.
    End,
}

impl StreamResponse {
    /// Parses `bytes` and calls `each` with every line they complete, without the line break.
    ///
    /// # Errors
    /// A status other than 200, invalid HTTP, a line that is too long, or an error of `each`.
    pub(crate) fn feed(
        &mut self,
        bytes: &[u8],
        each: &mut impl FnMut(&[u8]) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        if self.incomplete.is_empty() {
            return self.parse(bytes, each);
        }
        let mut whole = std::mem::take(&mut self.incomplete);
        whole.extend_from_slice(bytes);
        self.parse(&whole, each)
    }

    /// Whether the head is complete.
    pub(crate) fn has_head(&self) -> bool {
        self.part != ResponsePart::Head
    }

    /// Whether the body is complete.
    pub(crate) fn has_ended(&self) -> bool {
        self.part == ResponsePart::End
    }

    fn parse(
        &mut self,
        mut bytes: &[u8],
        each: &mut impl FnMut(&[u8]) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        while !bytes.is_empty() && self.part != ResponsePart::End {
            let (next, taken) = match self.part {
                ResponsePart::Head => match head(bytes)? {
                    Some((part, taken)) => (part, within(taken, MAX_HEAD)?),
                    None => return self.keep(bytes, MAX_HEAD),
                },
                ResponsePart::ChunkSize => match httparse::parse_chunk_size(bytes) {
                    Ok(httparse::Status::Complete((taken, size))) => {
                        let next =
                            if size == 0 { ResponsePart::End } else { ResponsePart::Chunk(size) };
                        (next, within(taken, MAX_SIZE_LINE)?)
                    }
                    Ok(httparse::Status::Partial) => return self.keep(bytes, MAX_SIZE_LINE),
                    Err(error) => return Err(EngineError::InvalidResponse(error.to_string())),
                },
                ResponsePart::ChunkEnd => match bytes {
                    [b'\r', b'\n', ..] => (ResponsePart::ChunkSize, 2),
                    [b'\r'] => return self.keep(bytes, MAX_SIZE_LINE),
                    _ => {
                        return Err(EngineError::InvalidResponse(
                            "a chunk is longer than its size".into(),
                        ));
                    }
                },
                ResponsePart::Chunk(left) => {
                    let (left, taken) = self.body(bytes, left, each)?;
                    (
                        if left == 0 { ResponsePart::ChunkEnd } else { ResponsePart::Chunk(left) },
                        taken,
                    )
                }
                ResponsePart::Length(left) => {
                    let (left, taken) = self.body(bytes, left, each)?;
                    (if left == 0 { ResponsePart::End } else { ResponsePart::Length(left) }, taken)
                }
                ResponsePart::UntilClosed => {
                    let (_, taken) = self.body(bytes, u64::MAX, each)?;
                    (ResponsePart::UntilClosed, taken)
                }
                ResponsePart::End => return Ok(()),
            };
            self.part = next;
            bytes = bytes.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    fn keep(&mut self, bytes: &[u8], limit: usize) -> Result<(), EngineError> {
        // At least one more byte must follow.
        within(bytes.len() + 1, limit)?;
        self.incomplete = bytes.to_vec();
        Ok(())
    }

    /// Splits the body bytes in `bytes` into lines; `left` is the length of the rest of the body or
    /// chunk. Returns how many bytes are left then, and how many were used.
    fn body(
        &mut self,
        bytes: &[u8],
        left: u64,
        each: &mut impl FnMut(&[u8]) -> Result<(), EngineError>,
    ) -> Result<(u64, usize), EngineError> {
        let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let mut lines = bytes.get(..taken).unwrap_or_default();
        while let Some(end) = lines.iter().position(|byte| *byte == b'\n') {
            let (line, after) = lines.split_at(end);
            within(self.line.len() + end, MAX_LINE)?;
            if self.line.is_empty() {
                each(line)?;
            } else {
                let mut whole = std::mem::take(&mut self.line);
                whole.extend_from_slice(line);
                each(&whole)?;
            }
            lines = after.get(1..).unwrap_or_default();
        }
        within(self.line.len() + lines.len(), MAX_LINE)?;
        self.line.extend_from_slice(lines);
        Ok((left - taken as u64, taken))
    }
}

/// Checks the length of a line or head, over all pieces it arrived in.
fn within(length: usize, limit: usize) -> Result<usize, EngineError> {
    if length > limit {
        return Err(EngineError::InvalidResponse(format!(
            "a line or head of more than {limit} bytes"
        )));
    }
    Ok(length)
}

/// Parses a head: how the body is delimited, and the head's length. `None` if it is incomplete.
fn head(bytes: &[u8]) -> Result<Option<(ResponsePart, usize)>, EngineError> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(EngineError::InvalidResponse(error.to_string())),
    };
    let status = response.code.unwrap_or_default();
    // `100 Continue` and `103 Early Hints` come before the response.
    if (100..200).contains(&status) && status != 101 {
        return Ok(Some((ResponsePart::Head, length)));
    }
    if status != 200 {
        // The message usually arrives together with the head.
        return Err(EngineError::Status(
            status,
            error_message(bytes.get(length..).unwrap_or_default()),
        ));
    }
    let field = |name: &str| {
        let field = response.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(field.value).ok().map(str::trim)
    };
    let part = match (field("transfer-encoding"), field("content-length")) {
        (Some(encoding), _) if encoding.eq_ignore_ascii_case("chunked") => ResponsePart::ChunkSize,
        (Some(encoding), _) => {
            return Err(EngineError::InvalidResponse(format!(
                "unsupported transfer encoding {encoding:?}"
            )));
        }
        (None, Some(length)) => match length.parse() {
            Ok(0) => ResponsePart::End,
            Ok(length) => ResponsePart::Length(length),
            Err(_) => {
                return Err(EngineError::InvalidResponse(format!(
                    "invalid content length {length:?}"
                )));
            }
        },
        (None, None) => ResponsePart::UntilClosed,
    };
    Ok(Some((part, length)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Parses `bytes` in pieces of `size`: the lines and whether the body ended, or the error.
    fn lines(bytes: &[u8], size: usize) -> Result<(Vec<String>, bool), String> {
        let (mut response, mut lines) = (StreamResponse::default(), Vec::new());
        for piece in bytes.chunks(size) {
            let fed = response.feed(piece, &mut |line| {
                lines.push(String::from_utf8(line.to_vec()).unwrap());
                Ok(())
            });
            fed.map_err(|error| error.to_string())?;
        }
        Ok((lines, response.has_ended()))
    }

    const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

    #[test]
    fn lines_do_not_depend_on_the_pieces() {
        let cases: [(&str, String, &[&str], bool); 9] = [
            (
                "one chunk per line",
                format!("{CHUNKED}4\r\none\n\r\n4\r\ntwo\n\r\n"),
                &["one", "two"],
                false,
            ),
            ("an end", format!("{CHUNKED}4\r\none\n\r\n0\r\n\r\n"), &["one"], true),
            ("trailers", format!("{CHUNKED}4\r\none\n\r\n0\r\nA: b\r\n\r\n"), &["one"], true),
            (
                "chunks across lines",
                format!("{CHUNKED}2\r\non\r\n6;x=y\r\ne\ntwo\n\r\n"),
                &["one", "two"],
                false,
            ),
            (
                "half a line at the end",
                format!("{CHUNKED}6\r\none\ntw\r\n0\r\n\r\n"),
                &["one"],
                true,
            ),
            (
                "a length",
                "HTTP/1.0 200 OK\r\ncontent-LENGTH:  8\r\n\r\none\ntwo\nmore".into(),
                &["one", "two"],
                true,
            ),
            ("no length", "HTTP/1.1 200 OK\r\n\r\none\n\ntwo\n".into(), &["one", "", "two"], false),
            (
                "informational responses first",
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n\
                 HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\none\n"
                    .into(),
                &["one"],
                true,
            ),
            ("an empty body", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".into(), &[], true),
        ];
        for (case, bytes, expected, ended) in cases {
            for size in 1..=bytes.len() {
                let (lines, end) = lines(bytes.as_bytes(), size).unwrap();
                assert_eq!(lines, expected, "{case}, {size} bytes at a time");
                assert_eq!(end, ended, "{case}, {size} bytes at a time");
            }
        }
    }

    #[test]
    fn invalid_responses_are_errors() {
        let long = "x".repeat(MAX_LINE + 1);
        let cases = [
            ("HTTP/1.1 404 Not Found\r\n\r\n{\"message\":\"No such container\"}".into(), "404"),
            ("HTTP/1.1 500 X\r\nContent-Length: 9\r\n\r\n".into(), "500"),
            (
                "\x15\x03\x01\x00\x02\x02\x16 no http at all\r\n\r\n".into(),
                "not a response of a container engine",
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n".into(), "many"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n".into(), "gzip"),
            (format!("{CHUNKED}xyz\r\n"), "chunk size"),
            (format!("{CHUNKED}ffffffffffffffffffff\r\n"), "chunk size"),
            (format!("{CHUNKED}1\r\nab\r\n"), "longer than its size"),
            (format!("{CHUNKED}1;{}", "e".repeat(MAX_SIZE_LINE)), "head of more than 256"),
            (format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(MAX_HEAD)), "head of more than"),
            (format!("{CHUNKED}1;{}\r\n", "e".repeat(MAX_SIZE_LINE)), "head of more than 256"),
            (format!("HTTP/1.1 200 OK\r\n\r\n{long}\n"), "line or head of more than"),
            (format!("HTTP/1.1 200 OK\r\n\r\n{long}"), "line or head of more than"),
            (format!("{CHUNKED}fffffff\r\n{long}"), "line or head of more than"),
        ];
        for (bytes, expected) in cases {
            for size in [1, 7, bytes.len()] {
                let error = lines(bytes.as_bytes(), size).unwrap_err();
                assert!(error.contains(expected), "{expected}, {size} at a time: {error}");
            }
        }
        let refused = "HTTP/1.1 404 Not Found\r\n\r\n{\"message\":\"No such container\"}";
        let error = lines(refused.as_bytes(), refused.len()).unwrap_err();
        assert!(error.contains("No such container"), "{error}");
    }

    #[test]
    fn an_error_of_the_callback_is_returned() {
        let mut response = StreamResponse::default();
        let mut refuse = |_: &[u8]| Err(EngineError::InvalidResponse("refused".into()));
        let bytes = b"HTTP/1.1 200 OK\r\n\r\none\ntwo\n";
        assert!(response.feed(bytes, &mut refuse).is_err());
    }

    #[test]
    fn no_memory_is_held_between_lines() {
        for size in 1..100 {
            let mut response = StreamResponse::default();
            for piece in format!("{CHUNKED}4\r\none\n\r\n").as_bytes().chunks(size) {
                response.feed(piece, &mut |_| Ok(())).unwrap();
            }
            assert!(response.has_head());
            assert_eq!(
                (response.incomplete.capacity(), response.line.capacity()),
                (0, 0),
                "{size}"
            );
        }
    }
}
