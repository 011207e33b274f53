//! An encoded message and its recipients.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};

use crate::connection::frame::Frame;
use crate::counters::QueuedBytes;
use crate::lock::lock;
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

/// Maximum size of the frames cached for audiences other than all projects, in bytes.
const MAX_CACHED: usize = 16 << 20;

/// A publication, and the key under which it is retained, if any.
pub(super) type KeyedPublication = (Option<Arc<str>>, Publication);

/// A state whose content depends on the recipient's interest.
pub(super) struct ByInterest {
    content: ContentFn,
    /// The projects that the content depends on, if they are known.
    projects: Option<BTreeSet<String>>,
    queued: Arc<QueuedBytes>,
    /// The cached frames for clients interested in everything, the most common kind.
    for_all: OnceLock<Vec<Frame>>,
    /// The frames for other audiences, so that clients that connect or subscribe later share them.
    cache: Mutex<FrameCache>,
}

/// Frames by audience, up to [`MAX_CACHED`].
#[derive(Default)]
struct FrameCache {
    frames: HashMap<Interest, Vec<Frame>>,
    bytes: usize,
}

type ContentFn = Box<dyn Fn(&Interest) -> Vec<Message> + Send + Sync>;

impl Publication {
    pub(super) fn by_interest(
        content: impl Fn(&Interest) -> Vec<Message> + Send + Sync + 'static,
        projects: Option<BTreeSet<String>>,
        queued: &Arc<QueuedBytes>,
    ) -> Self {
        Self::ByInterest(Arc::new(ByInterest {
            content: Box::new(content),
            projects,
            queued: Arc::clone(queued),
            for_all: OnceLock::new(),
            cache: Mutex::default(),
        }))
    }

    /// The project, if there is one.
    pub(super) fn project(&self) -> Option<&str> {
        match self {
            Self::Project { project, .. } => Some(project),
            Self::Everyone(_) | Self::ByInterest(_) => None,
        }
    }

    pub(super) fn is_by_interest(&self) -> bool {
        matches!(self, Self::ByInterest(_))
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

    /// What a recipient's frames depend on, if not all recipients get the same.
    pub(super) fn audience(&self, interest: &Interest) -> Option<Interest> {
        match self {
            Self::ByInterest(by_interest) => Some(by_interest.audience(interest)),
            Self::Everyone(_) | Self::Project { .. } => None,
        }
    }

    /// Appends the frames for the recipients of this audience.
    pub(super) fn frames_for(&self, audience: Option<&Interest>, out: &mut Vec<Frame>) {
        match (self, audience) {
            (Self::Everyone(frame) | Self::Project { frame, .. }, _) => out.push(frame.clone()),
            (Self::ByInterest(by_interest), Some(audience)) => by_interest.frames(audience, out),
            (Self::ByInterest(_), None) => {}
        }
    }

    /// Appends the frames for a recipient with this interest.
    pub(super) fn frames(&self, interest: &Interest, out: &mut Vec<Frame>) {
        if interest.receives(self.project()) {
            self.frames_for(self.audience(interest).as_ref(), out);
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
    fn audience(&self, interest: &Interest) -> Interest {
        match &self.projects {
            Some(projects) => interest.within(projects),
            None => interest.clone(),
        }
    }

    fn frames(&self, audience: &Interest, out: &mut Vec<Frame>) {
        if audience.is_all() {
            out.extend_from_slice(self.for_all.get_or_init(|| self.encode(audience)));
            return;
        }
        let mut cache = lock(&self.cache);
        if let Some(frames) = cache.frames.get(audience) {
            out.extend_from_slice(frames);
            return;
        }
        let frames = self.encode(audience);
        out.extend_from_slice(&frames);
        let bytes = frames.iter().map(|frame| frame.bytes().len()).sum::<usize>();
        if cache.bytes + bytes <= MAX_CACHED {
            cache.bytes += bytes;
            cache.frames.insert(audience.clone(), frames);
        }
    }

    /// Runs user code on the hub's thread, so panics are caught.
    fn encode(&self, interest: &Interest) -> Vec<Frame> {
        let messages = threads::guarded("publish_by_interest", || (self.content)(interest));
        let mut frames = Vec::new();
        for message in messages.into_iter().flatten() {
            match Frame::message(&message.state()) {
                Ok(frame) => frames.push(frame.counted(&self.queued)),
                Err(error) => {
                    log::error!("cannot encode a message for publish_by_interest: {error}");
                }
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
