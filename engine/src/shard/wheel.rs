//! Deadlines of connections on a hashed wheel: setting, moving and dropping one is a few array
//! writes. It holds slot numbers, not connections, and does not know what a deadline is for.
//!
//! A connection has at most one entry. Its deadline may lie further in the future than the wheel
//! reaches; it then simply comes past and is put back.

use crate::connection::Millis;

/// Milliseconds of a tick. Time is counted modulo 2^32 of them, so a power of two: ticks and
/// buckets then go on without a jump when time begins again at zero.
const TICK_MILLIS: u32 = 32;
/// Ticks until time begins again at zero.
const TICKS: u32 = u32::MAX / TICK_MILLIS + 1;
/// Buckets, a power of two as well: half a minute before the wheel comes round.
const BUCKETS: u32 = 1024;
/// The end of a bucket's list.
const NONE: u32 = u32::MAX;
/// In place of a link where there is no entry.
const ABSENT: u32 = u32::MAX - 1;

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
    heads: Box<[u32; BUCKETS as usize]>,
    entries: Vec<Entry>,
    /// When it was last looked at.
    now: Millis,
    length: usize,
}

fn bucket(tick: u32) -> usize {
    (tick % BUCKETS) as usize
}

/// The tick at or after `due`, so that nothing fires early.
fn tick_of(due: Millis) -> u32 {
    due.0.div_ceil(TICK_MILLIS)
}

impl Wheel {
    pub(super) fn new() -> Self {
        let heads = Box::new([NONE; BUCKETS as usize]);
        Self { heads, entries: Vec::new(), now: Millis(0), length: 0 }
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

    /// Sets or moves a slot's deadline. One that has passed already fires at the next look, so it
    /// is kept as the time of the last one, whose bucket is not behind us.
    pub(super) fn set(&mut self, slot: u32, due: Millis) {
        let due = if self.now.reached(due) { self.now } else { due };
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
        let (current, position) = (now.0 / TICK_MILLIS, self.now.0 / TICK_MILLIS);
        let behind = current.wrapping_sub(position) % TICKS;
        for step in 0..=behind.min(BUCKETS - 1) {
            let mut slot = self.heads[bucket(position + step)];
            while slot != NONE {
                let entry = self.entries[slot as usize];
                if now.reached(entry.due) {
                    self.clear(slot);
                    expired.push(slot);
                }
                slot = entry.next;
            }
        }
        self.now = now;
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
        assert_eq!(expired(&mut wheel, 120 + TICK_MILLIS), [3, 4]);
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
        assert_eq!(expired(&mut wheel, 300 + TICK_MILLIS), [2]);
        assert!(wheel.is_empty());
    }

    #[test]
    fn a_deadline_that_has_passed_fires_at_the_next_look() {
        let mut wheel = Wheel::new();
        assert_eq!(expired(&mut wheel, 70_000), []);
        wheel.set(1, Millis(20_000));
        wheel.set(2, Millis(69_999));
        assert_eq!(expired(&mut wheel, 70_000 + TICK_MILLIS), [1, 2]);
    }

    /// Against a plain map, from a first moment on; the deadlines of the map are not modulo
    /// anything.
    fn check_against_a_map(first: u64, steps: u32, stride: u64) {
        let millis = |time: u64| Millis(time as u32);
        let mut wheel = Wheel::new();
        let mut oracle = std::collections::BTreeMap::new();
        let mut random = 1u64;
        let mut now = first;
        expired(&mut wheel, now as u32);
        for step in 0..steps {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(99);
            let slot = (random >> 33) as u32 % 500;
            let due = now + (random >> 20) % 200_000;
            match step % 5 {
                0 => {
                    wheel.clear(slot);
                    oracle.remove(&slot);
                }
                _ => {
                    wheel.set(slot, millis(due));
                    oracle.insert(slot, due);
                }
            }
            now += stride;
            for slot in expired(&mut wheel, now as u32) {
                assert!(oracle.remove(&slot).is_some_and(|due| due <= now));
            }
            // A deadline may wait for the end of its tick, not longer.
            assert!(oracle.values().all(|&due| due + u64::from(TICK_MILLIS) > now));
        }
    }

    #[test]
    fn random_deadlines_agree_with_a_plain_map() {
        check_against_a_map(0, 20_000, 37);
    }

    #[test]
    fn deadlines_hold_when_time_begins_again_at_zero() {
        check_against_a_map((1 << 32) - 300_000, 20_000, 37);
    }

    #[test]
    fn a_long_pause_fires_everything_that_was_due_meanwhile() {
        check_against_a_map((1 << 32) - 3_000_000, 500, 70_001);
    }
}
