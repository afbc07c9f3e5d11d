//! A shard's first subscriber of a topic comes, its last goes. Nobody publishes here.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Exchange, Names, write};
use crate::pubsub::entry::Entry;
use crate::pubsub::log::Log;
use crate::pubsub::subscribe::SubscribeError;

impl Exchange {
    /// Enters a shard's first subscriber of a topic without a history, which has this number on
    /// that shard.
    pub(in crate::pubsub) fn join(
        &self,
        shard: usize,
        hash: u64,
        name: &str,
        place: u32,
    ) -> Arc<Entry> {
        let mut table = write(self.table(hash));
        let (entry, _) = self.find_or_insert(&mut table, hash, name, None);
        if entry.is_deserted() {
            self.federation.note_interest(&entry, true);
        }
        entry.enter(shard, place);
        entry
    }

    /// Enters a shard's first subscriber of a topic with a history. `false` when that was forgotten
    /// since it was found.
    pub(in crate::pubsub) fn join_history(
        &self,
        shard: usize,
        entry: &Arc<Entry>,
        place: u32,
    ) -> bool {
        let _held = write(self.table(entry.hash));
        if !entry.is_listed() {
            return false;
        }
        if entry.is_deserted() {
            self.federation.note_interest(entry, true);
        }
        entry.enter(shard, place);
        true
    }

    /// The topic of a name whose messages are kept, whether anybody is subscribed or not. `None`
    /// when as many as may be have subscribers.
    pub(in crate::pubsub) fn find_history(&self, hash: u64, name: &str) -> Option<Arc<Entry>> {
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
    pub(in crate::pubsub) fn join_pattern(
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
                self.federation.note_interest(&entry, true);
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
    pub(in crate::pubsub) fn leave(&self, shard: usize, entry: &Arc<Entry>) {
        if entry.is_pattern {
            let mut patterns = write(&self.patterns);
            entry.set_subscribers(shard, 0);
            if entry.is_deserted() {
                entry.unlist();
                patterns.remove(&entry.name);
                self.federation.note_interest(entry, false);
                self.note_patterns(patterns.len());
            }
            return;
        }
        let mut table = write(self.table(entry.hash));
        entry.set_subscribers(shard, 0);
        if !entry.is_deserted() {
            return;
        }
        self.federation.note_interest(entry, false);
        if entry.log.is_none() {
            self.unlist(&mut table, entry);
        } else {
            drop(table);
            self.histories.note_idle(entry);
        }
    }
}
