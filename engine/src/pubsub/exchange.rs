//! What the shards of a server share about topics: which of them have subscribers of what, and the
//! inlets by which they hand each other batches. It keeps no messages but those under way, and
//! publishing writes nothing here.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hashbrown::HashTable;

use super::Reached;
use super::backend::{Backend, Interest, Publication};
use super::batch::{Batch, Content, OpenBatch, Outgoing, Publish};
use super::entry::Entry;
use super::forms::Windows;
use super::histories::Histories;
use super::inlet::{Bell, Inlet};
use super::log::Log;
use super::numbers;
use super::options::{Rules, SlowPolicy, TopicOptions};
use super::shard_set::ShardSet;
use super::subscribe::SubscribeError;
use super::tally::Tally;
use super::trie::Trie;
use crate::limits::Limits;
use crate::protocol::deflate::{Compressor, Deflate};

/// Tables that the names are spread over, each with its own lock.
const TABLES: usize = 16;
/// Counters of the census.
const CENSUS: usize = 4096;

/// Messages of a topic on their way to a shard.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) entry: Arc<Entry>,
    /// Without one, it says that messages were missed.
    pub(super) batch: Option<Batch>,
}

type Names = HashTable<Arc<Entry>>;

/// The shared side of publish and subscribe.
///
/// Invariant: an entry is in its table, or in the patterns, from its first subscriber to its last,
/// or while it keeps messages, and no two with the same name are.
pub(crate) struct Exchange {
    hasher: RandomState,
    tables: Box<[RwLock<Names>]>,
    /// How many names there are of each hash: a zero says that there is none without taking a
    /// lock, which is what publishing to nobody costs.
    census: Box<[AtomicU32]>,
    patterns: RwLock<Trie<Arc<Entry>>>,
    patterns_count: AtomicUsize,
    /// Changes whenever the patterns do.
    patterns_version: AtomicU64,
    patterns_max: usize,
    inlets: Box<[Inlet<Parcel>]>,
    inlet_bytes_max: usize,
    /// Of each shard, what is published and not yet sent to all of its subscribers.
    tallies: Box<[Arc<Tally>]>,
    rules: Rules,
    histories: Histories,
    /// From how many bytes on messages are compressed; `usize::MAX` when the server never does.
    compressed_from_bytes: AtomicUsize,
    /// For those who publish and are no shard.
    compressor: Mutex<Option<Box<Compressor>>>,
    /// Longest name. Nobody can be subscribed to a longer one, so nobody gets what is published
    /// to it either.
    name_bytes_max: usize,
    /// Names this server among those that a backend joins.
    node: u64,
    backend: OnceLock<Arc<dyn Backend>>,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shards = self.shards();
        formatter.debug_struct("Exchange").field("shards", &shards).finish_non_exhaustive()
    }
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

impl Exchange {
    /// Most shards of a server.
    pub(crate) const SHARDS_MAX: usize = ShardSet::SHARDS_MAX;

    /// An exchange for as many shards as there are bells.
    pub(crate) fn new(
        bells: impl IntoIterator<Item = Arc<dyn Bell>>,
        rules: Rules,
        limits: &Limits,
    ) -> Self {
        let inlet = |bell| Inlet::new(limits.inlet_batches_max, limits.inlet_bytes_max, bell);
        let inlets: Box<[_]> = bells.into_iter().map(inlet).collect();
        Self {
            hasher: RandomState::new(),
            tables: std::iter::repeat_with(RwLock::default).take(TABLES).collect(),
            census: std::iter::repeat_with(AtomicU32::default).take(CENSUS).collect(),
            patterns: RwLock::default(),
            patterns_count: AtomicUsize::new(0),
            patterns_version: AtomicU64::new(0),
            patterns_max: limits.patterns_max,
            tallies: inlets.iter().map(|_| Arc::default()).collect(),
            inlets,
            inlet_bytes_max: limits.inlet_bytes_max,
            rules,
            histories: Histories::new(limits),
            compressed_from_bytes: AtomicUsize::new(usize::MAX),
            compressor: Mutex::default(),
            name_bytes_max: limits.topic_bytes_max,
            node: RandomState::new().hash_one("node"),
            backend: OnceLock::new(),
        }
    }

    /// Has messages compressed from here on, like those sent to single connections.
    pub(crate) fn set_compression(&self, deflate: &Deflate) {
        self.compressed_from_bytes.store(deflate.threshold_bytes, Ordering::Relaxed);
    }

    /// Whether a message is compressed where that was agreed on.
    #[inline]
    pub(super) fn compresses(&self, content: &Content<'_>) -> bool {
        let threshold_bytes = self.compressed_from_bytes.load(Ordering::Relaxed);
        threshold_bytes != usize::MAX
            && content.compress.unwrap_or(content.payload.len() >= threshold_bytes)
    }

    /// A compressor to be kept for the batches to come.
    pub(super) fn new_compressor(&self) -> Box<Compressor> {
        let compressor = Compressor::new();
        Box::new(match self.compressed_from_bytes.load(Ordering::Relaxed) {
            0 => compressor.keeping_longer(),
            _ => compressor,
        })
    }

    pub(super) fn shards(&self) -> usize {
        self.inlets.len()
    }

    pub(super) fn inlet(&self, shard: usize) -> &Inlet<Parcel> {
        &self.inlets[shard]
    }

    pub(super) fn inlet_bytes_max(&self) -> usize {
        self.inlet_bytes_max
    }

    #[cfg(test)]
    pub(super) fn histories(&self) -> &Histories {
        &self.histories
    }

    pub(crate) fn node(&self) -> u64 {
        self.node
    }

    /// Joins the server to others; before anybody publishes.
    pub(crate) fn set_backend(&self, backend: Arc<dyn Backend>) {
        // Done once, when the server starts.
        let _ = self.backend.set(backend);
    }

    /// Hands a message to other nodes, if there are any.
    #[inline]
    pub(super) fn send_away(&self, topic: &str, content: Content<'_>, how: Publish) {
        if let Some(backend) = self.backend.get() {
            let Content { kind, payload, .. } = content;
            let (tags, key) = (how.tags, how.key);
            backend.publish(&Publication { origin: self.node, topic, kind, payload, tags, key });
        }
    }

    fn tell_interest(&self, entry: &Entry, wanted: bool) {
        if let Some(backend) = self.backend.get() {
            let (name, is_pattern) = (&*entry.name, entry.is_pattern);
            backend.interest(Interest { name, is_pattern, wanted });
        }
    }

    pub(super) fn hash(&self, name: &str) -> u64 {
        self.hasher.hash_one(name)
    }

    fn census(&self, hash: u64) -> &AtomicU32 {
        &self.census[hash as usize % CENSUS]
    }

    fn table(&self, hash: u64) -> &RwLock<Names> {
        &self.tables[(hash >> 32) as usize % TABLES]
    }

    /// The topic of a name, if anybody is subscribed to it.
    #[inline]
    pub(super) fn find(&self, hash: u64, name: &str) -> Option<Arc<Entry>> {
        if self.census(hash).load(Ordering::Acquire) == 0 {
            return None;
        }
        let table = read(self.table(hash));
        table.find(hash, |entry| *entry.name == *name).cloned()
    }

    /// Whether anybody is subscribed to any pattern.
    #[inline]
    pub(super) fn has_patterns(&self) -> bool {
        self.patterns_count.load(Ordering::Acquire) > 0
    }

    pub(super) fn patterns_version(&self) -> u64 {
        self.patterns_version.load(Ordering::Acquire)
    }

    /// The patterns that match a name, and the options of the topic of that name.
    pub(super) fn matching(&self, name: &str) -> (Vec<Arc<Entry>>, TopicOptions) {
        let mut found = Vec::new();
        read(&self.patterns).matching(name, &mut |entry: &Arc<Entry>| found.push(entry.clone()));
        (found, self.rules.find(name))
    }

    /// Whether a name can be that of a topic.
    pub(super) fn takes_name(&self, name: &str) -> bool {
        name.len() <= self.name_bytes_max
    }

    /// Enters a shard's first subscriber of a topic without a history, which has this number on
    /// that shard.
    pub(super) fn join(&self, shard: usize, hash: u64, name: &str, place: u32) -> Arc<Entry> {
        let mut table = write(self.table(hash));
        let (entry, _) = self.find_or_insert(&mut table, hash, name, None);
        if entry.is_deserted() {
            self.tell_interest(&entry, true);
        }
        entry.enter(shard, place);
        entry
    }

    /// Enters a shard's first subscriber of a topic with a history. `false` when that was forgotten
    /// since it was found.
    pub(super) fn join_history(&self, shard: usize, entry: &Entry, place: u32) -> bool {
        let _held = write(self.table(entry.hash));
        if !entry.is_listed() {
            return false;
        }
        if entry.is_deserted() {
            self.tell_interest(entry, true);
        }
        entry.enter(shard, place);
        true
    }

    /// Whether messages to a name are kept by the rules.
    pub(super) fn keeps_history(&self, name: &str) -> bool {
        !self.rules.are_empty() && self.rules.find(name).kept_messages() > 0
    }

    /// The topic of a name whose messages are kept, whether anybody is subscribed or not. `None`
    /// when as many as may be have subscribers.
    pub(super) fn find_history(&self, hash: u64, name: &str) -> Option<Arc<Entry>> {
        if let Some(entry) = self.find(hash, name) {
            return Some(entry);
        }
        if !self.histories.reserve(|oldest| self.forget_history(oldest)) {
            return None;
        }
        let kept = self.rules.find(name).kept_messages();
        let log = Log::new(kept, Arc::clone(&self.histories.bytes));
        let mut table = write(self.table(hash));
        let (entry, is_new) = self.find_or_insert(&mut table, hash, name, Some(log));
        drop(table);
        if !is_new {
            self.histories.release();
        }
        Some(entry)
    }

    /// Forgets a history, unless somebody is subscribed.
    fn forget_history(&self, entry: &Arc<Entry>) -> bool {
        let mut table = write(self.table(entry.hash));
        let forgotten = entry.is_deserted();
        if forgotten {
            self.unlist(&mut table, entry);
        }
        forgotten
    }

    fn find_or_insert(
        &self,
        table: &mut Names,
        hash: u64,
        name: &str,
        log: Option<Log>,
    ) -> (Arc<Entry>, bool) {
        if let Some(known) = table.find(hash, |entry| *entry.name == *name) {
            return (Arc::clone(known), false);
        }
        let options = self.rules.find(name);
        let entry = Arc::new(Entry::new(name, hash, false, options, log, self.shards()));
        table.insert_unique(hash, Arc::clone(&entry), |entry| entry.hash);
        self.census(hash).fetch_add(1, Ordering::Release);
        (entry, true)
    }

    fn unlist(&self, table: &mut Names, entry: &Arc<Entry>) {
        entry.unlist();
        let same = |other: &Arc<Entry>| Arc::ptr_eq(other, entry);
        if let Ok(found) = table.find_entry(entry.hash, same) {
            found.remove();
            self.census(entry.hash).fetch_sub(1, Ordering::Release);
        }
    }

    /// Enters a shard's first subscriber of a pattern.
    ///
    /// # Errors
    /// [`SubscribeError::TooManyPatterns`].
    pub(super) fn join_pattern(
        &self,
        shard: usize,
        hash: u64,
        pattern: &str,
        place: u32,
    ) -> Result<Arc<Entry>, SubscribeError> {
        let mut patterns = write(&self.patterns);
        let entry = match patterns.get(pattern) {
            Some(entry) => Arc::clone(entry),
            None if patterns.len() >= self.patterns_max => {
                return Err(SubscribeError::TooManyPatterns);
            }
            None => {
                let options = self.rules.find(pattern);
                let entry = Entry::new(pattern, hash, true, options, None, self.shards());
                let entry = Arc::new(entry);
                patterns.insert(pattern, Arc::clone(&entry));
                self.tell_interest(&entry, true);
                self.note_patterns(patterns.len());
                entry
            }
        };
        entry.enter(shard, place);
        Ok(entry)
    }

    fn note_patterns(&self, count: usize) {
        self.patterns_count.store(count, Ordering::Release);
        self.patterns_version.fetch_add(1, Ordering::Release);
    }

    /// Notes that a shard has no subscriber of a topic or pattern any more.
    pub(super) fn leave(&self, shard: usize, entry: &Arc<Entry>) {
        if entry.is_pattern {
            let mut patterns = write(&self.patterns);
            entry.set_subscribers(shard, 0);
            if entry.is_deserted() {
                entry.unlist();
                patterns.remove(&entry.name);
                self.tell_interest(entry, false);
                self.note_patterns(patterns.len());
            }
            return;
        }
        let mut table = write(self.table(entry.hash));
        entry.set_subscribers(shard, 0);
        if !entry.is_deserted() {
            return;
        }
        self.tell_interest(entry, false);
        if entry.log.is_none() {
            self.unlist(&mut table, entry);
        } else {
            drop(table);
            self.histories.note_idle(entry);
        }
    }

    /// Hands a batch to the shards that have a place for it. The shard it comes from delivers to
    /// its own itself, but when the topic has a history: then all get it in the order of the
    /// history, `own` like the others but without being woken, and so do those whose first
    /// subscriber came since, who counts from where the history was then.
    pub(super) fn ship(
        &self,
        entry: &Arc<Entry>,
        batch: &Batch,
        own: usize,
        reserved: ShardSet,
        refused: ShardSet,
    ) {
        let mut log = entry.lock_log();
        let bytes = batch.frames.len();
        for shard in reserved.iter() {
            match entry.subscribers(shard) {
                0 => self.inlets[shard].release(bytes),
                _ => self.fill(entry, batch, shard, own),
            }
        }
        let Some(log) = &mut log else { return };
        log.append(batch);
        for shard in entry.interested().iter().filter(|&shard| !reserved.has(shard)) {
            if !refused.has(shard) && self.inlets[shard].reserve(bytes) {
                self.fill(entry, batch, shard, own);
            } else {
                self.refuse(entry, shard, batch.messages, entry.subscribers(shard));
            }
        }
    }

    /// The same batch, to be received on a shard.
    pub(super) fn batch_for(&self, batch: &Batch, shard: usize) -> Batch {
        batch.for_shard(shard, &self.tallies[shard])
    }

    /// Bytes in memory that a shard holds for many of its connections together, and its part of
    /// what is no longer in any history but still to be sent to somebody.
    pub(super) fn shared_bytes(&self, shard: usize) -> usize {
        self.tallies[shard].bytes() + self.histories.bytes.outdated() / self.shards()
    }

    /// Fills a place that is reserved for a batch.
    fn fill(&self, entry: &Arc<Entry>, batch: &Batch, shard: usize, own: usize) {
        let (batch, bytes) = (self.batch_for(batch, shard), batch.frames.len());
        let parcel = Parcel { entry: Arc::clone(entry), batch: Some(batch) };
        let inlet = &self.inlets[shard];
        if shard == own {
            let _ = inlet.insert(parcel, bytes);
        } else {
            inlet.fill(parcel, bytes);
        }
    }

    /// Counts what a shard's subscribers miss because its inlet is full, and has them told.
    pub(super) fn refuse(
        &self,
        entry: &Arc<Entry>,
        shard: usize,
        messages: u32,
        subscribers: usize,
    ) {
        self.inlets[shard].count_refused(messages, subscribers);
        self.miss(entry, shard, messages);
    }

    /// Has a shard's subscribers told that they miss messages.
    fn miss(&self, entry: &Arc<Entry>, shard: usize, messages: u32) {
        if messages > 0 && entry.miss(shard, messages) {
            self.inlets[shard].note(Parcel { entry: Arc::clone(entry), batch: None });
        }
    }

    /// Has all subscribers of a topic told that they miss messages.
    pub(crate) fn miss_everywhere(&self, name: &str, messages: u32) {
        let exact = self.find(self.hash(name), name);
        let matching = if self.has_patterns() { self.matching(name).0 } else { Vec::new() };
        for entry in exact.iter().chain(&matching) {
            for shard in entry.interested().iter() {
                self.miss(entry, shard, messages);
            }
        }
    }

    /// The topic of a name, if anybody is subscribed to it or its messages are kept.
    pub(super) fn find_to_publish(&self, hash: u64, name: &str) -> Option<Arc<Entry>> {
        let known = self.find(hash, name);
        if known.is_some() || !self.keeps_history(name) {
            return known;
        }
        let entry = self.find_history(hash, name)?;
        self.histories.note_idle(&entry);
        Some(entry)
    }

    /// How many subscribers a publish to a name reaches now, by name and by pattern.
    pub(crate) fn subscribers(&self, name: &str) -> usize {
        let exact = self.find(self.hash(name), name);
        let matching = if self.has_patterns() { self.matching(name).0 } else { Vec::new() };
        exact.iter().chain(&matching).map(|entry| entry.all_subscribers()).sum()
    }

    /// Publishes from any thread, to other nodes as well.
    pub(crate) fn publish(&self, name: &str, content: Content<'_>, how: Publish) -> Reached {
        if self.takes_name(name) {
            self.send_away(name, content, how);
        }
        self.publish_here(name, content, how)
    }

    /// Publishes to this node's subscribers: framed once, handed to each shard with any at once.
    pub(crate) fn publish_here(&self, name: &str, content: Content<'_>, how: Publish) -> Reached {
        if !self.takes_name(name) {
            return Reached::default();
        }
        let hash = self.hash(name);
        let Publish { tags, key, .. } = how;
        let (compress, except) = (self.compresses(&content), None);
        let message = |key, options| Outgoing { content, compress, tags, key, except, options };
        let mut reached = Reached::default();
        if let Some(entry) = self.find_to_publish(hash, name) {
            let batch = self.batch_of_one(&message(key, entry.options), entry.windows());
            self.hand_out(&entry, &batch, &mut reached);
        }
        if self.has_patterns() {
            let (matching, options) = self.matching(name);
            if !matching.is_empty() {
                let latest = options.slow == SlowPolicy::Latest;
                let key = if latest { numbers::mix(hash, key) } else { key };
                let windows = matching.iter().fold(0, |all, entry| all | entry.windows().0);
                let batch = self.batch_of_one(&message(key, options), Windows(windows));
                matching.iter().for_each(|entry| self.hand_out(entry, &batch, &mut reached));
            }
        }
        reached
    }

    /// A batch of one message, with its compressed forms for these windows.
    fn batch_of_one(&self, message: &Outgoing<'_>, windows: Windows) -> Batch {
        let mut open = OpenBatch::default();
        open.push(message);
        let sealed = open.seal(usize::MAX);
        if windows.is_empty() || !sealed.is_to_be_compressed() {
            return sealed.batch;
        }
        let mut compressor = self.compressor.lock().unwrap_or_else(PoisonError::into_inner);
        sealed.compressed(windows, compressor.get_or_insert_with(|| self.new_compressor()))
    }

    /// Hands a message to all shards with subscribers.
    fn hand_out(&self, entry: &Arc<Entry>, batch: &Batch, reached: &mut Reached) {
        let mut log = entry.lock_log();
        if let Some(log) = &mut log {
            log.append(batch);
        }
        for shard in entry.interested().iter() {
            let subscribers = entry.subscribers(shard);
            if self.inlets[shard].reserve(batch.frames.len()) {
                self.fill(entry, batch, shard, usize::MAX);
                reached.queued += subscribers;
            } else {
                self.refuse(entry, shard, batch.messages, subscribers);
                reached.dropped += subscribers;
            }
        }
    }
}
