//! The exchange's side towards other nodes: numbers for what goes out, the backend's calls, and
//! judgement on what comes in. Delivering is the exchange's.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::backend::{Backend, Interest, Publication, PublicationId};
use super::batch::{Content, Publish};
use super::entry::Entry;
use super::streams::{Arrivals, Carrying, Numbering, Verdict};
use crate::limits::Limits;

/// What a server shares with others.
pub(super) struct Federation {
    /// This server among those that a backend joins.
    pub(super) node: u64,
    backend: OnceLock<Joined>,
    topics_max: usize,
    /// Counts beginnings of interests.
    clock: AtomicU64,
    interests: Mutex<Interests>,
    /// Held while a publication from elsewhere is handed on, so that they stay in order.
    arrivals: Mutex<Arrivals>,
}

struct Joined {
    backend: Arc<dyn Backend>,
    keeps_histories: bool,
    /// Of each shard, and of all other threads together.
    numberings: Box<[Mutex<Numbering>]>,
}

/// Interests that the backend has not been told of.
#[derive(Default)]
struct Interests {
    waiting: VecDeque<(Arc<Entry>, bool)>,
    /// A thread is telling it; whatever comes meanwhile is told by the same.
    is_being_told: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Federation {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            node: RandomState::new().hash_one("node"),
            backend: OnceLock::new(),
            topics_max: limits.backend_topics_max,
            clock: AtomicU64::new(0),
            interests: Mutex::default(),
            arrivals: Mutex::new(Arrivals::new(limits.backend_topics_max)),
        }
    }

    /// Joins other nodes, before anybody publishes.
    pub(super) fn join(&self, backend: Arc<dyn Backend>, shards: usize) {
        let numbering = || Mutex::new(Numbering::new(self.topics_max));
        let numberings = std::iter::repeat_with(numbering).take(shards + 1).collect();
        let keeps_histories = backend.keeps_histories();
        // Done once, when the server starts.
        let _ = self.backend.set(Joined { backend, keeps_histories, numberings });
    }

    /// Whether the backend numbers the messages of topics with a history.
    pub(super) fn keeps_histories(&self) -> bool {
        self.backend.get().is_some_and(|joined| joined.keeps_histories)
    }

    /// Hands a message to other nodes, if there are any. Each shard is a publisher by its number,
    /// everybody else is the one behind them.
    #[inline]
    pub(super) fn send(
        &self,
        publisher: usize,
        (hash, topic): (u64, &str),
        content: Content<'_>,
        how: Publish,
    ) {
        if let Some(joined) = self.backend.get() {
            joined.send(self.node, publisher, (hash, topic), content, how);
        }
    }

    /// Notes that somebody has come to a topic that nobody was subscribed to, or that nobody is any
    /// more. Told by [`tell_interests`](Self::tell_interests), when no lock is held.
    pub(super) fn note_interest(&self, entry: &Arc<Entry>, wanted: bool) {
        if wanted {
            entry.set_wanted_since(self.clock.fetch_add(1, Ordering::Relaxed) + 1);
        }
        if self.backend.get().is_some() {
            lock(&self.interests).waiting.push_back((Arc::clone(entry), wanted));
        }
    }

    /// Tells the backend of what was noted, in that order.
    #[inline]
    pub(super) fn tell_interests(&self) {
        if let Some(joined) = self.backend.get() {
            joined.tell(&self.interests);
        }
    }

    /// What has come from elsewhere, for as long as one of it is handed on.
    pub(super) fn arrivals(&self) -> MutexGuard<'_, Arrivals> {
        lock(&self.arrivals)
    }

    /// Whether a publication is new, by its numbers, to those who want its topic.
    pub(super) fn judge<'e>(
        &self,
        arrivals: &mut Arrivals,
        hash: u64,
        publication: &Publication<'_>,
        wanting: impl Iterator<Item = &'e Arc<Entry>>,
    ) -> Verdict {
        let wanting = wanting.filter(|entry| !entry.is_deserted());
        // Nobody has wanted it for long enough to miss anything.
        let since = wanting.map(|entry| entry.wanted_since()).min().unwrap_or(u64::MAX);
        let Publication { id, topic, topic_sequence, .. } = *publication;
        let now = self.clock.load(Ordering::Relaxed);
        arrivals.judge(id, (hash, topic), topic_sequence, since, now)
    }
}

impl Joined {
    #[inline(never)]
    fn send(
        &self,
        node: u64,
        publisher: usize,
        (hash, topic): (u64, &str),
        content: Content<'_>,
        how: Publish,
    ) {
        let publisher = publisher.min(self.numberings.len() - 1);
        let Some(_carrying) = Carrying::begin() else { return };
        // Held until the backend has it: publications of one publisher must not overtake each other.
        let mut numbering = lock(&self.numberings[publisher]);
        let (sequence, topic_sequence) = numbering.next(hash, topic);
        let id = PublicationId { node, publisher: publisher as u32, sequence };
        let Content { kind, payload, .. } = content;
        let Publish { tags, key, .. } = how;
        let position = None;
        let publication =
            Publication { id, topic, topic_sequence, position, kind, payload, tags, key };
        self.backend.publish(&publication);
    }

    fn tell(&self, interests: &Mutex<Interests>) {
        loop {
            let waiting = {
                let mut interests = lock(interests);
                if interests.is_being_told || interests.waiting.is_empty() {
                    return;
                }
                interests.is_being_told = true;
                std::mem::take(&mut interests.waiting)
            };
            let _told = Told(interests);
            for (entry, wanted) in waiting {
                let (name, is_pattern) = (&*entry.name, entry.is_pattern);
                self.backend.interest(Interest { name, is_pattern, wanted });
            }
        }
    }
}

/// Lets others tell, even if the backend has panicked.
struct Told<'a>(&'a Mutex<Interests>);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        lock(self.0).is_being_told = false;
    }
}
