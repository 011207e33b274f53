//! An HTTP response without end, read as its bytes come: pure.
//!
//! It takes bytes in pieces of any size and gives the lines of the body. Between two pieces it
//! holds only what is incomplete; between two lines that is nothing.

use super::client::{MAX_HEAD, message};
use super::error::EngineError;

/// The longest line taken: a sample is some 2 KiB, and has a list entry for each core and disk.
const MAX_LINE: usize = 256 << 10;
/// The longest line before a chunk: its size, and an extension that nobody uses.
const MAX_SIZE_LINE: usize = 256;
/// As many fields as a head may have.
const MAX_FIELDS: usize = 64;

/// What has come of a response so far.
#[derive(Debug, Default)]
pub(crate) struct StreamResponse {
    part: ResponsePart,
    /// Bytes of a head, or of a chunk's frame, that is not whole yet.
    rest: Vec<u8>,
    /// Bytes of a line that is not whole yet.
    line: Vec<u8>,
}

/// What comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ResponsePart {
    #[default]
    Head,
    /// The line with the size of a chunk.
    ChunkSize,
    /// So many more bytes of a chunk.
    Chunk(u64),
    /// The line break after a chunk.
    ChunkEnd,
    /// So many more bytes of a body whose length the head told.
    Length(u64),
    /// A body that ends with the connection.
    UntilClosed,
    /// Nothing.
    End,
}

impl StreamResponse {
    /// Takes bytes as they came, and gives each line they complete to `each`, without its end.
    ///
    /// # Errors
    /// A status other than 200, something that is no HTTP, a line that is too long, or what `each`
    /// returned.
    pub(crate) fn feed(
        &mut self,
        bytes: &[u8],
        each: &mut impl FnMut(&[u8]) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        if self.rest.is_empty() {
            return self.parse(bytes, each);
        }
        let mut whole = std::mem::take(&mut self.rest);
        whole.extend_from_slice(bytes);
        self.parse(&whole, each)
    }

    /// Whether the head was whole: the engine has answered.
    pub(crate) fn is_answered(&self) -> bool {
        self.part != ResponsePart::Head
    }

    /// Whether the body has ended.
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
                            "a chunk longer than it says".into(),
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
        // At least one byte is still to come.
        within(bytes.len() + 1, limit)?;
        self.rest = bytes.to_vec();
        Ok(())
    }

    /// Takes what of the body is in `bytes`, of which `left` are to come; how many are left then,
    /// and how many were taken.
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

/// Holds the length of a part to its limit, in however many pieces it came.
fn within(length: usize, limit: usize) -> Result<usize, EngineError> {
    if length > limit {
        return Err(EngineError::InvalidResponse(format!(
            "a line or a head of more than {limit} bytes"
        )));
    }
    Ok(length)
}

/// How the body after a head is framed, and the head's length; `None` for one that is not whole.
fn head(bytes: &[u8]) -> Result<Option<(ResponsePart, usize)>, EngineError> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(EngineError::InvalidResponse(error.to_string())),
    };
    let status = response.code.unwrap_or_default();
    if status != 200 {
        // What has come of its message with the head: all of it, as a rule.
        return Err(EngineError::Status(status, message(bytes.get(length..).unwrap_or_default())));
    }
    let field = |name: &str| {
        let field = response.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(field.value).ok().map(str::trim)
    };
    let part = match (field("transfer-encoding"), field("content-length")) {
        (Some(encoding), _) if encoding.eq_ignore_ascii_case("chunked") => ResponsePart::ChunkSize,
        (Some(encoding), _) => {
            return Err(EngineError::InvalidResponse(format!(
                "the transfer encoding {encoding:?}"
            )));
        }
        (None, Some(length)) => match length.parse() {
            Ok(0) => ResponsePart::End,
            Ok(length) => ResponsePart::Length(length),
            Err(_) => return Err(EngineError::InvalidResponse(format!("the length {length:?}"))),
        },
        (None, None) => ResponsePart::UntilClosed,
    };
    Ok(Some((part, length)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// What comes of these bytes in pieces of `size`: the lines, whether it ended, or the error.
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
    fn lines_come_out_whatever_the_pieces() {
        let cases: [(&str, String, &[&str], bool); 8] = [
            (
                "a chunk a line",
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
    fn what_is_no_answer_is_an_error_that_says_so() {
        let long = "x".repeat(MAX_LINE + 1);
        let cases = [
            ("HTTP/1.1 404 Not Found\r\n\r\n{\"message\":\"No such container\"}".into(), "404"),
            ("HTTP/1.1 500 X\r\nContent-Length: 9\r\n\r\n".into(), "500"),
            ("\x15\x03\x01\x00\x02\x02\x16 no http at all\r\n\r\n".into(), "no container engine"),
            ("HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n".into(), "many"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n".into(), "gzip"),
            (format!("{CHUNKED}xyz\r\n"), "chunk size"),
            (format!("{CHUNKED}ffffffffffffffffffff\r\n"), "chunk size"),
            (format!("{CHUNKED}1\r\nab\r\n"), "longer than it says"),
            (format!("{CHUNKED}1;{}", "e".repeat(MAX_SIZE_LINE)), "a head of more than 256"),
            (format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(MAX_HEAD)), "a head of more than"),
            (format!("{CHUNKED}1;{}\r\n", "e".repeat(MAX_SIZE_LINE)), "a head of more than 256"),
            (format!("HTTP/1.1 200 OK\r\n\r\n{long}\n"), "line or a head of more than"),
            (format!("HTTP/1.1 200 OK\r\n\r\n{long}"), "line or a head of more than"),
            (format!("{CHUNKED}fffffff\r\n{long}"), "line or a head of more than"),
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
    fn a_line_that_is_refused_ends_it() {
        let mut response = StreamResponse::default();
        let mut refuse = |_: &[u8]| Err(EngineError::InvalidResponse("refused".into()));
        let bytes = b"HTTP/1.1 200 OK\r\n\r\none\ntwo\n";
        assert!(response.feed(bytes, &mut refuse).is_err());
    }

    #[test]
    fn nothing_is_held_between_two_lines() {
        for size in 1..100 {
            let mut response = StreamResponse::default();
            for piece in format!("{CHUNKED}4\r\none\n\r\n").as_bytes().chunks(size) {
                response.feed(piece, &mut |_| Ok(())).unwrap();
            }
            assert!(response.is_answered());
            assert_eq!((response.rest.capacity(), response.line.capacity()), (0, 0), "{size}");
        }
    }
}
