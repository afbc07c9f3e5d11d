//! How batches reach the shards that have subscribers: from a shard at the end of its turn, from
//! other threads and from other nodes at once. What a shard's own subscribers get from it directly is
//! not seen here.

use std::sync::{Arc, PoisonError};

use super::{Exchange, Parcel, Wanting};
use crate::pubsub::Reached;
use crate::pubsub::backend::Publication;
use crate::pubsub::batch::{Batch, Content, OpenBatch, Outgoing, Publish};
use crate::pubsub::entry::Entry;
use crate::pubsub::forms::Windows;
use crate::pubsub::numbers;
use crate::pubsub::options::SlowPolicy;
use crate::pubsub::shard_set::ShardSet;
use crate::pubsub::streams::Verdict;

impl Exchange {
    /// Hands a batch to the shards that have a place for it. The shard it comes from delivers to
    /// its own itself, but when the topic has a history: then all get it in the order of the
    /// history, `own` like the others but without being woken, and so do those whose first
    /// subscriber came since, who counts from where the history was then.
    pub(in crate::pubsub) fn ship(
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
    pub(in crate::pubsub) fn refuse(
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

    /// Publishes from a thread that is no shard's, to other nodes as well: framed once, handed to
    /// each shard with subscribers at once.
    pub(crate) fn publish(&self, name: &str, content: Content<'_>, how: Publish) -> Reached {
        let hash = self.hash(name);
        if !self.takes_name(name) || self.send_away(usize::MAX, (hash, name), content, how) {
            return Reached::default();
        }
        let wanting = self.wanting(hash, name);
        self.hand_to(&wanting, hash, content, how)
    }

    /// Takes in what was published on another node, or comes back with its position.
    pub(crate) fn arrived(&self, publication: &Publication<'_>) -> Reached {
        let Publication { id, topic, position, kind, payload, tags, key, .. } = *publication;
        let position = position.filter(|_| self.federation.keeps_histories());
        let is_own = id.node == self.node() && position.is_none();
        if is_own || !self.takes_name(topic) {
            return Reached::default();
        }
        let hash = self.hash(topic);
        let mut arrivals = self.federation.arrivals();
        let wanting = self.wanting(hash, topic);
        let log = wanting.exact.as_ref().and_then(|entry| entry.lock_log());
        let missing = match (log, position) {
            (Some(mut log), Some(position)) => log.advance_to(position),
            _ => match self.federation.judge(&mut arrivals, hash, publication, wanting.iter()) {
                Verdict::New { missing } => Some(missing),
                Verdict::Old => None,
            },
        };
        let Some(missing) = missing else { return Reached::default() };
        self.miss_all(&wanting, u32::try_from(missing).unwrap_or(u32::MAX));
        let content = Content { kind, payload, framed: None, compress: None };
        let how = Publish { tags, key, except_sender: false };
        self.hand_to(&wanting, hash, content, how)
    }

    /// Has all subscribers of a topic told that they miss messages.
    pub(crate) fn miss_everywhere(&self, name: &str, messages: u32) {
        self.miss_all(&self.wanting(self.hash(name), name), messages);
    }

    fn miss_all(&self, wanting: &Wanting, messages: u32) {
        for entry in wanting.iter() {
            for shard in entry.interested().iter() {
                self.miss(entry, shard, messages);
            }
        }
    }

    /// Publishes to this node's subscribers.
    fn hand_to(&self, to: &Wanting, hash: u64, content: Content<'_>, how: Publish) -> Reached {
        let Publish { tags, key, .. } = how;
        let (compress, except) = (self.compresses(&content), None);
        let message = |key, options| Outgoing { content, compress, tags, key, except, options };
        let mut reached = Reached::default();
        if let Some(entry) = &to.exact {
            let batch = self.batch_of_one(&message(key, entry.options), entry.windows());
            self.hand_out(entry, &batch, &mut reached);
        }
        if !to.matching.is_empty() {
            let latest = to.options.slow == SlowPolicy::Latest;
            let key = if latest { numbers::mix(hash, key) } else { key };
            let windows = to.matching.iter().fold(0, |all, entry| all | entry.windows().0);
            let batch = self.batch_of_one(&message(key, to.options), Windows(windows));
            to.matching.iter().for_each(|entry| self.hand_out(entry, &batch, &mut reached));
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
