//! The messages that a client received, and their comparison with those of another client.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The project that a client subscribes to; `None` for everything.
pub(crate) type View = Option<&'static str>;

pub(crate) const VIEWS: [View; 5] = [None, Some("p0"), Some("p1"), Some("p2"), Some("p3")];

/// The hashes of the messages that a client received, in order, and the newest timestamp, by type.
#[derive(Debug, Default)]
pub(crate) struct Log(BTreeMap<String, (Vec<u64>, u64)>);

impl Log {
    /// Records a message, which must not be older than the previous one of its type.
    pub(crate) fn add(&mut self, kind: &str, text: &str) -> Result<(), String> {
        let timestamp = text.rsplit_once("\"timestamp\":").and_then(|(_, end)| {
            end.strip_suffix('}').and_then(|digits| digits.parse::<u64>().ok())
        });
        let timestamp = timestamp.ok_or_else(|| format!("no timestamp: {text}"))?;
        let (seen, newest) = self.0.entry(kind.to_owned()).or_default();
        if timestamp < *newest {
            return Err(format!("{newest} came before {text}"));
        }
        *newest = timestamp;
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        seen.push(hasher.finish());
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.values().map(|(seen, _)| seen.len()).sum()
    }

    /// The number of messages between the first and the last of this log that only the witness has.
    /// Fails if the witness does not have all of its messages in the same order, or if this log
    /// lacks an event, which must not be conflated.
    pub(crate) fn skipped_of(&self, witness: &Self) -> Result<usize, String> {
        let mut skipped = 0;
        for (kind, (mine, _)) in &self.0 {
            let all = witness.0.get(kind).map_or(&[][..], |(all, _)| all);
            let starts = (0..all.len()).filter(|&at| all[at] == mine[0]);
            let least = starts.filter_map(|at| skips(mine, &all[at..])).min();
            let Some(least) = least else {
                return Err(format!(
                    "{} messages of type {kind} differ from those of the witness",
                    mine.len()
                ));
            };
            if kind == "project_status" && least > 0 {
                return Err(format!("{least} of {kind} are missing"));
            }
            skipped += least;
        }
        Ok(skipped)
    }
}

fn skips(mine: &[u64], all: &[u64]) -> Option<usize> {
    let mut rest = all.iter();
    let mut skipped = 0;
    for message in mine {
        skipped += rest.position(|other| other == message)?;
    }
    Some(skipped)
}

#[test]
fn a_log_that_differs_from_the_log_of_a_witness_is_rejected() {
    let log = |kind: &str, numbers: &[u64]| {
        let mut log = Log::default();
        for n in numbers {
            log.add(kind, &format!("{{\"n\":{n},\"timestamp\":7}}")).unwrap();
        }
        log
    };
    let witness = log("container_stats", &[1, 2, 3, 1, 4, 5]);
    assert_eq!(log("container_stats", &[1, 4, 5]).skipped_of(&witness), Ok(0));
    assert_eq!(log("container_stats", &[2, 4]).skipped_of(&witness), Ok(2));
    assert!(log("container_stats", &[4, 3]).skipped_of(&witness).is_err());
    assert!(log("project_list", &[1]).skipped_of(&witness).is_err());
    let witness = log("project_status", &[1, 2, 3]);
    assert!(log("project_status", &[1, 3]).skipped_of(&witness).is_err());
    assert!(log("x", &[1]).add("x", "{\"timestamp\":6}").is_err());
}
