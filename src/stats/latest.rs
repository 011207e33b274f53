//! The latest snapshot, and what HTTP serves of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tungstenite::Bytes;

use super::metrics;
use crate::lock::lock;
use crate::{Error, Interest, Snapshot};

/// A snapshot and the documents made from it: each at the first request for it, for all requests.
pub(super) struct LatestSnapshot {
    snapshot: Arc<Snapshot>,
    /// Locked while a document is made: concurrent requests wait for it.
    documents: Mutex<HashMap<Document, Bytes>>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
enum Document {
    Metrics,
    Stats,
    ProjectStats(String),
}

impl LatestSnapshot {
    pub(super) fn new(snapshot: Arc<Snapshot>) -> Self {
        Self { snapshot, documents: Mutex::default() }
    }

    /// The metrics of the containers.
    pub(super) fn metrics(&self) -> Bytes {
        let make =
            || Ok(metrics::of_containers(self.snapshot.containers(), &self.snapshot.stopped));
        self.document(Document::Metrics, make).unwrap_or_default()
    }

    /// The `container_stats` message of all projects.
    ///
    /// # Errors
    /// If it cannot be encoded as JSON.
    pub(super) fn stats(&self) -> Result<Bytes, Error> {
        self.document(Document::Stats, || self.snapshot.container_stats(&Interest::all()).to_json())
    }

    /// The `container_stats` message of one project, or `None` if there is no such project.
    ///
    /// # Errors
    /// If it cannot be encoded as JSON.
    pub(super) fn project_stats(&self, id: &str) -> Result<Option<Bytes>, Error> {
        if !self.snapshot.has_project(id) {
            return Ok(None);
        }
        let interest = Interest::only([id]);
        let document = Document::ProjectStats(id.to_owned());
        self.document(document, || self.snapshot.container_stats(&interest).to_json()).map(Some)
    }

    fn document(
        &self,
        document: Document,
        make: impl FnOnce() -> Result<String, Error>,
    ) -> Result<Bytes, Error> {
        let mut documents = lock(&self.documents);
        if let Some(bytes) = documents.get(&document) {
            return Ok(bytes.clone());
        }
        let mut text = make()?;
        // It is kept until the next snapshot, and for as long as it is being sent.
        text.shrink_to_fit();
        let bytes = Bytes::from(text);
        documents.insert(document, bytes.clone());
        Ok(bytes)
    }
}
