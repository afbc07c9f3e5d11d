//! Deadlines of connections on a hashed wheel: setting, moving and dropping one is a few array
//! writes. It holds slot numbers, not connections, and does not know what a deadline is for.
//!
//! A connection has at most one entry. Its deadline may lie further in the future than the wheel
//! reaches; it then simply comes past and is put back.

use crate::connection::Millis;
use crate::driver::TICK;

/// Buckets: with ticks of 50 ms, half a minute before the wheel comes round.
const BUCKETS: usize = 1024;
/// The end of a bucket's list.
const NONE: u32 = u32::MAX;
/// In place of a link where there is no entry.
const ABSENT: u32 = u32::MAX - 1;
const TICK_MILLIS: u32 = TICK.as_millis() as u32;

/// Links of one entry. A slot that has no deadline links to [`ABSENT`].
#[derive(Clone, Copy, Debug)]
struct Entry {
    previous: u32,
    next: u32,
    due: Millis,
}

impl Entry {
    const EMPTY: Self = Self { previous: ABSENT, next: ABSENT, due: Millis(0) };

    fn is_set(&self) -> bool {
        self.next != ABSENT
    }
}

/// The wheel of one shard.
#[derive(Debug)]
pub(super) struct Wheel {
    heads: Box<[u32; BUCKETS]>,
    entries: Vec<Entry>,
    /// The next tick to look at.
    position: u32,
    length: usize,
}

fn bucket(tick: u32) -> usize {
    tick as usize % BUCKETS
}

/// The tick at or after `due`, so that nothing fires early.
fn tick_of(due: Millis) -> u32 {
    due.0.div_ceil(TICK_MILLIS)
}

impl Wheel {
    pub(super) fn new() -> Self {
        Self { heads: Box::new([NONE; BUCKETS]), entries: Vec::new(), position: 0, length: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// When the slot's deadline is.
    #[cfg(test)]
    pub(super) fn due(&self, slot: u32) -> Option<Millis> {
        let entry = self.entries.get(slot as usize).filter(|entry| entry.is_set())?;
        Some(entry.due)
    }

    /// Sets or moves a slot's deadline.
    pub(super) fn set(&mut self, slot: u32, due: Millis) {
        self.clear(slot);
        if self.entries.len() <= slot as usize {
            self.entries.resize(slot as usize + 1, Entry::EMPTY);
        }
        let head = &mut self.heads[bucket(tick_of(due))];
        let next = std::mem::replace(head, slot);
        self.entries[slot as usize] = Entry { previous: NONE, next, due };
        if next != NONE {
            self.entries[next as usize].previous = slot;
        }
        self.length += 1;
    }

    /// Drops a slot's deadline, if it has one.
    pub(super) fn clear(&mut self, slot: u32) {
        let Some(entry) = self.entries.get_mut(slot as usize) else { return };
        if !entry.is_set() {
            return;
        }
        let Entry { previous, next, due } = std::mem::replace(entry, Entry::EMPTY);
        match previous {
            NONE => self.heads[bucket(tick_of(due))] = next,
            previous => self.entries[previous as usize].next = next,
        }
        if next != NONE {
            self.entries[next as usize].previous = previous;
        }
        self.length -= 1;
    }

    /// Takes out the slots whose deadlines have passed at `now`.
    pub(super) fn expire(&mut self, now: Millis, expired: &mut Vec<u32>) {
        let current = now.0 / TICK_MILLIS;
        let behind = current.wrapping_sub(self.position);
        if behind > u32::MAX / 2 {
            return;
        }
        for step in 0..=behind.min(BUCKETS as u32 - 1) {
            let mut slot = self.heads[bucket(self.position.wrapping_add(step))];
            while slot != NONE {
                let entry = self.entries[slot as usize];
                if now.reached(entry.due) {
                    self.clear(slot);
                    expired.push(slot);
                }
                slot = entry.next;
            }
        }
        self.position = current;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expired(wheel: &mut Wheel, now: u32) -> Vec<u32> {
        let mut slots = Vec::new();
        wheel.expire(Millis(now), &mut slots);
        slots.sort_unstable();
        slots
    }

    #[test]
    fn deadlines_fire_once_not_early_and_within_a_tick() {
        let mut wheel = Wheel::new();
        wheel.set(3, Millis(120));
        wheel.set(4, Millis(120));
        wheel.set(5, Millis(10_000_000));
        assert_eq!(expired(&mut wheel, 119), []);
        assert_eq!(expired(&mut wheel, 150), [3, 4]);
        assert_eq!(expired(&mut wheel, 500), []);
        assert_eq!(wheel.due(5), Some(Millis(10_000_000)));
        assert!(!wheel.is_empty());
    }

    #[test]
    fn a_moved_or_cleared_deadline_does_not_fire_at_its_old_time() {
        let mut wheel = Wheel::new();
        wheel.set(1, Millis(100));
        wheel.set(2, Millis(100));
        wheel.set(3, Millis(100));
        wheel.set(2, Millis(300));
        wheel.clear(1);
        assert_eq!(expired(&mut wheel, 200), [3]);
        assert_eq!(expired(&mut wheel, 300), [2]);
        assert!(wheel.is_empty());
    }

    #[test]
    fn random_deadlines_agree_with_a_sorted_list() {
        let mut wheel = Wheel::new();
        let mut oracle = std::collections::BTreeMap::new();
        let mut random = 1u64;
        let mut now = 0;
        for step in 0..20_000u32 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
            let slot = (random >> 33) as u32 % 500;
            let due = now + (random >> 20) as u32 % 200_000;
            match step % 5 {
                0 => {
                    wheel.clear(slot);
                    oracle.remove(&slot);
                }
                _ => {
                    wheel.set(slot, Millis(due));
                    oracle.insert(slot, due);
                }
            }
            now += 37;
            let fired = expired(&mut wheel, now);
            for slot in &fired {
                assert!(oracle.remove(slot).is_some_and(|due| due <= now));
            }
            // A deadline may wait for the end of its tick, not longer.
            assert!(oracle.values().all(|&due| due + TICK_MILLIS > now));
        }
    }
}
