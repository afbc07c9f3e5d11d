//! One topic, or one pattern, as all shards see it: how many subscribers each shard has. It holds
//! no messages, and it is not the list of topics.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::forms::Windows;
use super::log::Log;
use super::options::TopicOptions;
use super::shard_set::ShardSet;

/// What one shard says of the topic. Only that shard writes it, but for what it has missed.
#[derive(Debug, Default)]
struct Part {
    subscribers: AtomicU32,
    /// Its number among the topics of that shard; means nothing while there are no subscribers.
    place: AtomicU32,
    /// Messages that found the shard's inlet full and that its subscribers were not told of.
    missed: AtomicU32,
    /// The windows that its subscribers have agreed on for compression, and those that have left
    /// since it has any.
    windows: AtomicU8,
}

/// A topic, or a pattern, that somebody is subscribed to.
///
/// Invariant: a shard is among the interested while it has subscribers, except while it is about to
/// say so.
#[derive(Debug)]
pub(super) struct Entry {
    /// The topic's name, or the pattern.
    pub(super) name: Box<str>,
    pub(super) hash: u64,
    pub(super) is_pattern: bool,
    pub(super) options: TopicOptions,
    /// Its history, if it has one. Who holds the lock may take that of an inlet, not of another
    /// history.
    pub(super) log: Option<Mutex<Log>>,
    parts: Box<[Part]>,
    interested: [AtomicU64; ShardSet::WORDS],
    /// Since when somebody has been subscribed, by the clock of the interests.
    wanted_since: AtomicU64,
    listed: AtomicBool,
    /// Whether it is among the histories that nobody is subscribed to.
    idle: AtomicBool,
}

impl Entry {
    pub(super) fn new(
        name: &str,
        hash: u64,
        is_pattern: bool,
        options: TopicOptions,
        log: Option<Log>,
        shards: usize,
    ) -> Self {
        Self {
            name: name.into(),
            hash,
            is_pattern,
            options,
            log: log.map(Mutex::new),
            parts: std::iter::repeat_with(Part::default).take(shards).collect(),
            interested: Default::default(),
            wanted_since: AtomicU64::new(0),
            listed: AtomicBool::new(true),
            idle: AtomicBool::new(false),
        }
    }

    /// Its history, locked.
    pub(super) fn lock_log(&self) -> Option<MutexGuard<'_, Log>> {
        Some(self.log.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes messages that a shard's subscribers miss; whether they are the first since it asked.
    pub(super) fn miss(&self, shard: usize, messages: u32) -> bool {
        self.parts[shard].missed.fetch_add(messages, Ordering::Relaxed) == 0
    }

    /// How many that were, and none from here on.
    pub(super) fn take_missed(&self, shard: usize) -> u32 {
        self.parts[shard].missed.swap(0, Ordering::Relaxed)
    }

    /// The shards that have subscribers.
    #[inline]
    pub(super) fn interested(&self) -> ShardSet {
        ShardSet(std::array::from_fn(|word| self.interested[word].load(Ordering::Acquire)))
    }

    /// Subscribers on one shard.
    #[inline]
    pub(super) fn subscribers(&self, shard: usize) -> usize {
        self.parts[shard].subscribers.load(Ordering::Acquire) as usize
    }

    /// Subscribers on all shards.
    pub(super) fn all_subscribers(&self) -> usize {
        self.interested().iter().map(|shard| self.subscribers(shard)).sum()
    }

    /// Its number among that shard's topics; asked by that shard alone.
    pub(super) fn place(&self, shard: usize) -> u32 {
        self.parts[shard].place.load(Ordering::Relaxed)
    }

    /// Notes a shard's first subscriber, who has missed nothing.
    pub(super) fn enter(&self, shard: usize, place: u32) {
        self.take_missed(shard);
        self.parts[shard].windows.store(0, Ordering::Relaxed);
        self.parts[shard].place.store(place, Ordering::Relaxed);
        self.set_subscribers(shard, 1);
    }

    pub(super) fn set_subscribers(&self, shard: usize, subscribers: usize) {
        self.parts[shard].subscribers.store(subscribers as u32, Ordering::Release);
        let (word, bit) = ShardSet::place(shard);
        let known = self.interested[word].load(Ordering::Relaxed) & bit != 0;
        match subscribers {
            0 if known => _ = self.interested[word].fetch_and(!bit, Ordering::AcqRel),
            1.. if !known => _ = self.interested[word].fetch_or(bit, Ordering::AcqRel),
            _ => {}
        }
    }

    /// Notes for which window a subscriber on a shard can be sent shared compressed messages.
    pub(super) fn add_window(&self, shard: usize, window: Windows) {
        if !window.is_empty() {
            self.parts[shard].windows.fetch_or(window.0, Ordering::Relaxed);
        }
    }

    /// The windows to compress for.
    pub(super) fn windows(&self) -> Windows {
        let of_shard = |shard: usize| self.parts[shard].windows.load(Ordering::Relaxed);
        Windows(self.interested().iter().map(of_shard).fold(0, |all, own| all | own))
    }

    /// Since when somebody has been subscribed; means nothing while nobody is.
    pub(super) fn wanted_since(&self) -> u64 {
        self.wanted_since.load(Ordering::Relaxed)
    }

    pub(super) fn set_wanted_since(&self, tick: u64) {
        self.wanted_since.store(tick, Ordering::Relaxed);
    }

    /// Whether no shard has subscribers.
    pub(super) fn is_deserted(&self) -> bool {
        self.interested().is_empty()
    }

    /// Whether it is the one that publishers find. One that is not stays so; a subscriber who
    /// comes back gets another.
    pub(super) fn is_listed(&self) -> bool {
        self.listed.load(Ordering::Acquire)
    }

    pub(super) fn unlist(&self) {
        self.listed.store(false, Ordering::Release);
    }

    /// Notes whether it is listed as idle; whether it was.
    pub(super) fn set_idle(&self, idle: bool) -> bool {
        self.idle.swap(idle, Ordering::Relaxed)
    }
}
