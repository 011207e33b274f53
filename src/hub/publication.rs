//! An encoded message and its recipients.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::connection::frame::Frame;
use crate::{Interest, Message, threads};

/// The assumed size of a publication by interest, whose content is not known yet. Sixteen of them
/// fill a turn.
const BY_INTEREST_WEIGHT: usize = 4096;

/// A message on its way to the clients.
#[derive(Clone, Debug)]
pub(super) enum Publication {
    /// For all clients, except those interested in nothing.
    Everyone(Frame),
    /// For the clients interested in this project, except for one of them.
    Project { project: Arc<str>, frame: Frame, except: Option<u64> },
    /// For all clients, with content that depends on the interest.
    ByInterest(Arc<ByInterest>),
}

/// A publication, and the key under which it is retained, if any.
pub(super) type KeyedPublication = (Option<Arc<str>>, Publication);

/// A state whose content depends on the recipient's interest.
pub(super) struct ByInterest {
    content: ContentFn,
    /// The cached frames for clients interested in everything, the most common kind.
    for_all: OnceLock<Vec<Frame>>,
}

type ContentFn = Box<dyn Fn(&Interest) -> Vec<Message> + Send + Sync>;

impl Publication {
    pub(super) fn by_interest(
        content: impl Fn(&Interest) -> Vec<Message> + Send + Sync + 'static,
    ) -> Self {
        Self::ByInterest(Arc::new(ByInterest {
            content: Box::new(content),
            for_all: OnceLock::new(),
        }))
    }

    /// The project, if there is one.
    pub(super) fn project(&self) -> Option<&str> {
        match self {
            Self::Project { project, .. } => Some(project),
            Self::Everyone(_) | Self::ByInterest(_) => None,
        }
    }

    /// The client that does not receive it.
    pub(super) fn except(&self) -> Option<u64> {
        match self {
            Self::Project { except, .. } => *except,
            Self::Everyone(_) | Self::ByInterest(_) => None,
        }
    }

    /// The frame, if it is the same for all recipients.
    pub(super) fn frame(&self) -> Option<&Frame> {
        match self {
            Self::Everyone(frame) | Self::Project { frame, .. } => Some(frame),
            Self::ByInterest(_) => None,
        }
    }

    /// Appends the frames for a recipient with this interest.
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

    /// Appends the frames that a recipient lacks when its interest changes from `old` to `new`.
    pub(super) fn frames_since(&self, old: &Interest, new: &Interest, out: &mut Vec<Frame>) {
        let has_it = match self {
            Self::ByInterest(_) => old == new,
            Self::Everyone(_) | Self::Project { .. } => old.receives(self.project()),
        };
        if !has_it {
            self.frames(new, out);
        }
    }

    /// The approximate number of bytes that it adds to a turn.
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

    /// Runs user code on the hub's thread, so panics are caught.
    fn encode(&self, interest: &Interest) -> Vec<Frame> {
        let messages = threads::guarded("publish_by_interest", || (self.content)(interest));
        let mut frames = Vec::new();
        for message in messages.into_iter().flatten() {
            match Frame::message(&message.state()) {
                Ok(frame) => frames.push(frame),
                Err(error) => log::error!("publish_by_interest: {error}"),
            }
        }
        frames
    }
}

impl fmt::Debug for ByInterest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByInterest")
    }
}
