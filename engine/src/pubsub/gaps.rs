//! Whom to tell that messages were missed. It counts; telling is for whoever has the connections.

use std::sync::Arc;

use super::entry::Entry;
use super::numbers::ByNumber;

/// Messages that a subscriber did not get.
#[derive(Clone, Debug)]
pub(crate) struct Gap {
    entry: Arc<Entry>,
    pub(crate) messages: u64,
}

impl Gap {
    /// The name of the topic, or the pattern, that they were received by.
    pub(crate) fn topic(&self) -> &str {
        &self.entry.name
    }
}

/// Gaps by the slot of the subscriber.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    by_slot: ByNumber<Vec<Gap>>,
}

impl Gaps {
    pub(super) fn is_empty(&self) -> bool {
        self.by_slot.is_empty()
    }

    /// Notes that a subscriber misses messages.
    pub(super) fn add(&mut self, slot: u32, entry: &Arc<Entry>, messages: u64) {
        let gaps = self.by_slot.entry(slot).or_default();
        match gaps.iter_mut().find(|gap| Arc::ptr_eq(&gap.entry, entry)) {
            Some(gap) => gap.messages += messages,
            None => gaps.push(Gap { entry: Arc::clone(entry), messages }),
        }
    }

    /// Takes all, each with its slot.
    pub(super) fn take(&mut self) -> Vec<(u32, Gap)> {
        let all = std::mem::take(&mut self.by_slot).into_iter();
        all.flat_map(|(slot, gaps)| gaps.into_iter().map(move |gap| (slot, gap))).collect()
    }

    /// Forgets those of a subscription that has ended.
    pub(super) fn forget_topic(&mut self, slot: u32, entry: &Arc<Entry>) {
        if !self.is_empty()
            && let Some(gaps) = self.by_slot.get_mut(&slot)
        {
            gaps.retain(|gap| !Arc::ptr_eq(&gap.entry, entry));
            if gaps.is_empty() {
                self.by_slot.remove(&slot);
            }
        }
    }

    /// Forgets those of a subscriber that has gone.
    pub(super) fn forget(&mut self, slot: u32) {
        if !self.is_empty() {
            self.by_slot.remove(&slot);
        }
    }
}
