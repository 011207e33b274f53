//! What is newest of each topic: what somebody who comes later gets at once.

use std::collections::HashMap;
use std::sync::Arc;

use super::delivery::Item;
use super::question::Reply;

/// The newest item of each topic, in the order in which the topics first appeared.
#[derive(Default)]
pub(super) struct Newest {
    items: HashMap<Arc<str>, (u64, Item)>,
    next: u64,
    /// Topics of which nothing comes for now, and why.
    gone: Option<(&'static [&'static str], String)>,
}

impl Newest {
    pub(super) fn set(&mut self, topic: Arc<str>, item: Item) {
        self.gone.take_if(|(topics, _)| topics.contains(&&*topic));
        let next = &mut self.next;
        let slot = self.items.entry(topic).or_insert_with(|| {
            *next += 1;
            (*next, item.clone())
        });
        slot.1 = item;
    }

    /// What was of these topics is of the past.
    pub(super) fn forget(&mut self, topics: &[impl AsRef<str>]) {
        for topic in topics {
            self.items.remove(topic.as_ref());
            self.gone.take_if(|(topics, _)| topics.contains(&topic.as_ref()));
        }
    }

    /// The same, and `why` there is nothing newer for now.
    pub(super) fn gone(&mut self, topics: &'static [&'static str], why: String) {
        self.forget(topics);
        self.gone = Some((topics, why));
    }

    pub(super) fn in_order(&self) -> Vec<&Item> {
        let mut items: Vec<&(u64, Item)> = self.items.values().collect();
        items.sort_by_key(|(order, _)| *order);
        items.into_iter().map(|(_, item)| item).collect()
    }

    /// What is to be said of a topic; `None` where there is nothing yet.
    pub(super) fn reply(&self, topic: &str) -> Option<Result<Reply, String>> {
        match (self.items.get(topic), &self.gone) {
            (Some((_, Item::All(frame) | Item::Project(_, frame))), _) => {
                Some(Ok(Reply::Message(frame.clone())))
            }
            (Some((_, Item::Snapshot(shot))), _) => Some(Ok(Reply::Snapshot(Arc::clone(shot)))),
            (None, Some((topics, why))) if topics.contains(&topic) => Some(Err(why.clone())),
            (None, _) => None,
        }
    }
}
