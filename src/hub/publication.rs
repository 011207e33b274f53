//! One message on its way from the publisher: encoded and framed, and for whom it is.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::connection::frame::Frame;
use crate::{Interest, Message, threads};

/// The bytes that a publication by interest is taken for, before its content is known: sixteen of
/// them fill a turn.
const BY_INTEREST_WEIGHT: usize = 4096;

/// One publish.
#[derive(Clone, Debug)]
pub(super) enum Publication {
    /// For every client that is interested in anything.
    Everyone(Frame),
    /// For the clients interested in this project, but for one of them.
    Project { project: Arc<str>, frame: Frame, except: Option<u64> },
    /// For each client, the content for its interest.
    ByInterest(Arc<ByInterest>),
}

/// A publication and the key under which it is retained, if it is.
pub(super) type Keyed = (Option<Arc<str>>, Publication);

/// Content that depends on the receiver's interest.
pub(super) struct ByInterest {
    content: Content,
    /// The frames for those interested in everything, who are most.
    for_all: OnceLock<Vec<Frame>>,
}

type Content = Box<dyn Fn(&Interest) -> Vec<Message> + Send + Sync>;

impl Publication {
    pub(super) fn by_interest(
        content: impl Fn(&Interest) -> Vec<Message> + Send + Sync + 'static,
    ) -> Self {
        Self::ByInterest(Arc::new(ByInterest {
            content: Box::new(content),
            for_all: OnceLock::new(),
        }))
    }

    /// The project it is about, if it is about one alone.
    pub(super) fn project(&self) -> Option<&str> {
        match self {
            Self::Project { project, .. } => Some(project),
            Self::Everyone(_) | Self::ByInterest(_) => None,
        }
    }

    /// The one client that it is not for.
    pub(super) fn except(&self) -> Option<u64> {
        match self {
            Self::Project { except, .. } => *except,
            Self::Everyone(_) | Self::ByInterest(_) => None,
        }
    }

    /// Its frame, where that is the same for all.
    pub(super) fn frame(&self) -> Option<&Frame> {
        match self {
            Self::Everyone(frame) | Self::Project { frame, .. } => Some(frame),
            Self::ByInterest(_) => None,
        }
    }

    /// Adds the frames for a receiver with this interest.
    pub(super) fn frames(&self, interest: &Interest, out: &mut Vec<Frame>) {
        match self {
            Self::ByInterest(by_interest) => by_interest.frames(interest, out),
            Self::Everyone(frame) | Self::Project { frame, .. } => {
                if interest.receives(self.project()) {
                    out.push(frame.clone());
                }
            }
        }
    }

    /// Adds what a receiver misses whose interest was `old` and is `new`.
    pub(super) fn frames_since(&self, old: &Interest, new: &Interest, out: &mut Vec<Frame>) {
        let has_it = match self {
            Self::ByInterest(_) => old == new,
            Self::Everyone(_) | Self::Project { .. } => old.receives(self.project()),
        };
        if !has_it {
            self.frames(new, out);
        }
    }

    /// The bytes that this adds to a turn, roughly.
    pub(super) fn weight(&self) -> usize {
        self.frame().map_or(BY_INTEREST_WEIGHT, |frame| frame.bytes().len())
    }
}

impl ByInterest {
    fn frames(&self, interest: &Interest, out: &mut Vec<Frame>) {
        if interest.is_none() {
        } else if interest.is_all() {
            out.extend_from_slice(self.for_all.get_or_init(|| self.encode(interest)));
        } else {
            out.extend(self.encode(interest));
        }
    }

    /// Runs on the hub's thread, which a panic must not end.
    fn encode(&self, interest: &Interest) -> Vec<Frame> {
        let messages = threads::guarded("publish_by_interest", || (self.content)(interest));
        let frames = messages.into_iter().flatten().map(|message| Frame::message(&message.state()));
        frames
            .filter_map(|frame| frame.inspect_err(|error| log::error!("not sent: {error}")).ok())
            .collect()
    }
}

impl fmt::Debug for ByInterest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByInterest")
    }
}
