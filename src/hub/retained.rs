//! The retained messages: the newest of each key, for clients that connect later.

use std::collections::HashMap;
use std::sync::Arc;

use super::publication::Publication;
use crate::connection::frame::Frame;
use crate::message::is_key_of;

/// The newest publication of each key, in the order in which the keys first appeared.
#[derive(Default)]
pub(super) struct Retained {
    publications: HashMap<Arc<str>, (u64, Publication)>,
    next: u64,
    /// Keys for which nothing is published for now, and why.
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

    /// Removes what is kept under these names, about every project.
    pub(super) fn clear(&mut self, names: &[impl AsRef<str>]) {
        self.publications.retain(|key, _| !names.iter().any(|name| is_key_of(key, name.as_ref())));
        self.invalid.take_if(|(keys, _)| names.iter().any(|name| keys.contains(&name.as_ref())));
    }

    /// Removes what is kept under these names, and notes why there is nothing newer for now.
    pub(super) fn invalidate(&mut self, names: &'static [&'static str], why: String) {
        self.clear(names);
        self.invalid = Some((names, why));
    }

    pub(super) fn in_order(&self) -> Vec<&Publication> {
        let mut publications: Vec<&(u64, Publication)> = self.publications.values().collect();
        publications.sort_by_key(|(order, _)| *order);
        publications.into_iter().map(|(_, publication)| publication).collect()
    }

    /// The answer to a query for this key; `None` while there is nothing to say.
    pub(super) fn answer(&self, key: &str) -> Option<Result<Option<Frame>, String>> {
        match (self.publications.get(key), &self.invalid) {
            (Some((_, publication)), _) => Some(Ok(publication.frame().cloned())),
            (None, Some((keys, why))) if keys.contains(&key) => Some(Err(why.clone())),
            (None, _) => None,
        }
    }
}
