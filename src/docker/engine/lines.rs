//! A response without an end, read line by line.

use std::io::{BufRead, BufReader, Read};

use ureq::BodyReader;

use super::error::EngineError;
use super::host::DockerHost;

/// The longest line accepted, in bytes. Podman's frame of about 2,000 containers is that long.
const MAX_LINE: u64 = 1 << 20;
/// The size of the read buffer, in bytes.
const BUFFER: usize = 4 << 10;

/// Lines of a streaming response, one JSON document each.
pub(crate) struct LineStream {
    reader: BufReader<BodyReader<'static>>,
    line: Vec<u8>,
    host: DockerHost,
}

impl LineStream {
    pub(super) fn new(body: BodyReader<'static>, host: DockerHost) -> Self {
        Self { reader: BufReader::with_capacity(BUFFER, body), line: Vec::new(), host }
    }

    /// Waits for the next line; `None` at the end of the response. A last line without a line
    /// break is incomplete and dropped.
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>, EngineError> {
        self.line.clear();
        (&mut self.reader)
            .take(MAX_LINE)
            .read_until(b'\n', &mut self.line)
            .map_err(|error| EngineError::from_ureq(&self.host, error.into()))?;
        if self.line.pop() == Some(b'\n') {
            Ok(Some(&self.line))
        } else if self.line.len() as u64 + 1 >= MAX_LINE {
            Err(EngineError::InvalidResponse(format!("a line of more than {MAX_LINE} bytes")))
        } else {
            Ok(None)
        }
    }
}
