//! What a client saw, and whether it is what another saw.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The one project that a client subscribes to, or everything.
pub(crate) type View = Option<&'static str>;

pub(crate) const VIEWS: [View; 5] = [None, Some("p0"), Some("p1"), Some("p2"), Some("p3")];

/// The messages of each type that a client got, in order, and the newest timestamp of each.
#[derive(Debug, Default)]
pub(crate) struct Log(BTreeMap<String, (Vec<u64>, u64)>);

impl Log {
    /// Takes a message, which must not be of before the last of its type.
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

    /// How many messages between the first and the last of this log are in the log of a witness
    /// alone; an error where it is not all in there in the same order, or where it lacks an event,
    /// which nothing may replace.
    pub(crate) fn skipped_of(&self, witness: &Self) -> Result<usize, String> {
        let mut skipped = 0;
        for (kind, (mine, _)) in &self.0 {
            let all = witness.0.get(kind).map_or(&[][..], |(all, _)| all);
            let starts = (0..all.len()).filter(|&at| all[at] == mine[0]);
            let least = starts.filter_map(|at| skips(mine, &all[at..])).min();
            let Some(least) = least else {
                return Err(format!("{} of {kind} are not as the witness saw them", mine.len()));
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
fn a_log_is_compared_with_that_of_a_witness() {
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
