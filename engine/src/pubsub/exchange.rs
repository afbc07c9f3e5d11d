//! What the shards of a server share about topics: which of them have subscribers of what, and the
//! inlets by which they hand each other batches. It keeps no messages but those under way, and
//! publishing writes nothing here.

mod entering;
mod handing;

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hashbrown::HashTable;

use super::backend::{Backend, History};
use super::batch::{Batch, Content, Publish};
use super::entry::Entry;
use super::federation::Federation;
use super::histories::Histories;
use super::inlet::{Bell, Inlet};
use super::options::{Rules, TopicOptions};
use super::shard_set::ShardSet;
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

/// Who is subscribed to a name.
struct Wanting {
    /// By that very name, or its messages are kept.
    exact: Option<Arc<Entry>>,
    /// By patterns that match.
    matching: Vec<Arc<Entry>>,
    /// Those of the topic, if any pattern matches.
    options: TopicOptions,
}

impl Wanting {
    fn iter(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.exact.iter().chain(&self.matching)
    }
}

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
    federation: Federation,
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
            federation: Federation::new(limits),
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
        self.federation.node
    }

    /// Joins the server to others; before anybody publishes.
    pub(crate) fn set_backend(&self, backend: Arc<dyn Backend>) {
        self.federation.join(backend, self.shards());
    }

    /// Hands a message to other nodes, if there are any; whether it comes back from there, with its
    /// place in a history that is kept for all.
    #[inline]
    pub(super) fn send_away(
        &self,
        publisher: usize,
        (hash, name): (u64, &str),
        content: Content<'_>,
        how: Publish,
    ) -> bool {
        self.federation.send(publisher, (hash, name), content, how);
        self.federation.keeps_histories() && self.keeps_history(name)
    }

    /// Tells the backend which topics are wanted, when no lock is held.
    pub(super) fn tell_interests(&self) {
        self.federation.tell_interests();
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

    /// Whether messages to a name are kept by the rules.
    pub(super) fn keeps_history(&self, name: &str) -> bool {
        !self.rules.are_empty() && self.rules.find(name).kept_messages() > 0
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

    /// Who is subscribed to a name, by name and by pattern.
    fn wanting(&self, hash: u64, name: &str) -> Wanting {
        let exact = self.find_to_publish(hash, name);
        let (matching, options) = match self.has_patterns() {
            true => self.matching(name),
            false => (Vec::new(), TopicOptions::default()),
        };
        Wanting { exact, matching, options }
    }

    /// What a topic keeps, if it keeps anything.
    pub(crate) fn history(&self, name: &str) -> Option<History> {
        Some(self.find(self.hash(name), name)?.lock_log()?.history())
    }

    /// Gives a topic what another node has kept of it; whether its messages are kept here.
    pub(crate) fn seed_history(&self, name: &str, history: &History) -> bool {
        if !self.takes_name(name) || !self.keeps_history(name) {
            return false;
        }
        let _in_order = self.federation.arrivals();
        let Some(entry) = self.find_to_publish(self.hash(name), name) else { return false };
        let Some(mut log) = entry.lock_log() else { return false };
        log.seed(history);
        true
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
}
