//! The retained messages: the latest of each key, for clients that connect later.

use std::collections::HashMap;
use std::sync::Arc;

use super::publication::Publication;
use crate::connection::frame::Frame;
use crate::message::is_key_of;

/// The latest publication of each key, in the order in which the keys first appeared.
#[derive(Default)]
pub(super) struct Retained {
    publications: HashMap<Arc<str>, (u64, Publication)>,
    next: u64,
    /// Keys without a message for now, and the reason.
    invalid: Option<(&'static [&'static str], String)>,
}

impl Retained {
    pub(super) fn set(&mut self, key: Arc<str>, publication: Publication) {
        self.invalid.take_if(|(keys, _)| keys.contains(&&*key));
        let next = &mut self.next;
        let slot = self.publications.entry(key).or_insert_with(|| {
            *next += 1;
            (*next, publication.clone())
        });
        slot.1 = publication;
    }

    /// Removes the messages with these names, of all projects.
    pub(super) fn clear(&mut self, names: &[impl AsRef<str>]) {
        self.publications.retain(|key, _| !names.iter().any(|name| is_key_of(key, name.as_ref())));
        self.invalid.take_if(|(keys, _)| names.iter().any(|name| keys.contains(&name.as_ref())));
    }

    /// Removes the messages with these names and sets the reason for queries.
    pub(super) fn invalidate(&mut self, names: &'static [&'static str], why: String) {
        self.clear(names);
        self.invalid = Some((names, why));
    }

    pub(super) fn in_order(&self) -> Vec<&Publication> {
        let mut publications: Vec<&(u64, Publication)> = self.publications.values().collect();
        publications.sort_by_key(|(order, _)| *order);
        publications.into_iter().map(|(_, publication)| publication).collect()
    }

    /// The response to a query for this key; `None` if there is none yet.
    pub(super) fn response(&self, key: &str) -> Option<Result<Option<Frame>, String>> {
        match (self.publications.get(key), &self.invalid) {
            (Some((_, publication)), _) => Some(Ok(publication.frame().cloned())),
            (None, Some((keys, why))) if keys.contains(&key) => Some(Err(why.clone())),
            (None, _) => None,
        }
    }
}
