//! How many connections each client address has, and how fast it makes new ones, over all shards of
//! a server. It holds no connection and refuses none: it says which one is one too many.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::connection::Millis;
use crate::limits::Limits;

/// Parts of the table, each with its own lock, so that shards seldom meet.
const PARTS: usize = 64;
/// Milliseconds between two looks for addresses that are of no interest any more.
const SWEEP_MILLIS: u32 = 1_000;
/// Milliseconds between two warnings.
const WARNING_MILLIS: u32 = 60_000;

/// What is counted as one address: an IPv4 address, or the 64 bits of an IPv6 address that a customer
/// is given as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AddressKey(NonZeroU64);

impl AddressKey {
    /// `None` for this machine itself, which is not counted.
    pub(crate) fn of(address: IpAddr) -> Option<Self> {
        let address = address.to_canonical();
        if address.is_loopback() {
            return None;
        }
        let number = match address {
            IpAddr::V4(address) => u64::from(address.to_bits()),
            IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
        };
        NonZeroU64::new(number).map(Self)
    }
}

/// Why a connection is one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Excess {
    /// The address has as many as it may.
    Connections,
    /// It has made as many within a second as it may.
    Rate,
}

/// Something that may happen so many times a second, and as often at once after a second without.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    /// Thousandths that have been taken, so that a millisecond's share of any rate is a whole number.
    taken: u64,
    refilled: Millis,
}

impl Bucket {
    const PART: u64 = 1_000;

    pub(crate) fn new(now: Millis) -> Self {
        Self { taken: 0, refilled: now }
    }

    /// Takes one, if the rate has one left.
    pub(crate) fn take(&mut self, per_second: u32, now: Millis) -> bool {
        self.refill(per_second, now);
        let fits = self.taken + Self::PART <= u64::from(per_second) * Self::PART;
        self.taken += if fits { Self::PART } else { 0 };
        fits
    }

    fn refill(&mut self, per_second: u32, now: Millis) {
        // Shards read their clocks on their own: one may be a turn behind another.
        if now.reached(self.refilled) {
            let millis = u64::from(now.since(self.refilled)).min(Self::PART);
            self.taken = self.taken.saturating_sub(millis * u64::from(per_second));
            self.refilled = now;
        }
    }
}

/// One address.
#[derive(Debug)]
struct Entry {
    connections: usize,
    accepts: Bucket,
}

#[derive(Debug, Default)]
struct Part {
    entries: HashMap<AddressKey, Entry>,
    swept: Millis,
}

/// The addresses of a server. There are never more of them than connections that are open or were
/// accepted within the last two seconds.
#[derive(Debug)]
pub(crate) struct Addresses {
    parts: [Mutex<Part>; PARTS],
    warned: Mutex<Option<Millis>>,
}

impl Default for Addresses {
    fn default() -> Self {
        Self { parts: std::array::from_fn(|_| Mutex::default()), warned: Mutex::default() }
    }
}

impl Addresses {
    /// Counts a connection of this address, until it is released.
    ///
    /// # Errors
    /// Why it is one too many; it is not counted then.
    pub(crate) fn admit(
        &self,
        key: AddressKey,
        limits: &Limits,
        now: Millis,
    ) -> Result<(), Excess> {
        let mut part = self.part(key);
        part.sweep(limits, now);
        let fresh = || Entry { connections: 0, accepts: Bucket::new(now) };
        let entry = part.entries.entry(key).or_insert_with(fresh);
        if entry.connections >= limits.connections_per_address_max {
            return Err(Excess::Connections);
        }
        if !entry.accepts.take(limits.accepts_per_address_per_second, now) {
            return Err(Excess::Rate);
        }
        entry.connections += 1;
        Ok(())
    }

    /// A connection that was counted has ended.
    pub(crate) fn release(&self, key: AddressKey) {
        if let Some(entry) = self.part(key).entries.get_mut(&key) {
            entry.connections = entry.connections.saturating_sub(1);
        }
    }

    /// Says in the log that somebody is refused, at most once a minute: an operator whose proxy is
    /// taken for a client must learn it.
    pub(crate) fn warn(&self, address: IpAddr, excess: Excess, now: Millis) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_some_and(|before| now.since(before) < WARNING_MILLIS) {
            return;
        }
        *warned = Some(now);
        let limit = match excess {
            Excess::Connections => "connections_per_address_max",
            Excess::Rate => "accepts_per_address_per_second",
        };
        tracing::warn!(%address, limit, "connections are refused; if that is a proxy, trust it");
    }

    fn part(&self, key: AddressKey) -> MutexGuard<'_, Part> {
        // Neighbours differ in their last bits.
        let number = key.0.get() ^ (key.0.get() >> 32);
        self.parts[number as usize % PARTS].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part {
    /// Forgets addresses without connections that may connect as often as any other.
    fn sweep(&mut self, limits: &Limits, now: Millis) {
        if !now.reached(self.swept) || now.since(self.swept) < SWEEP_MILLIS {
            return;
        }
        self.swept = now;
        self.entries.retain(|_, entry| {
            entry.accepts.refill(limits.accepts_per_address_per_second, now);
            entry.connections > 0 || entry.accepts.taken > 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> AddressKey {
        AddressKey::of(text.parse().unwrap()).expect("it is counted")
    }

    fn limits(connections: usize, accepts: u32) -> Limits {
        Limits {
            connections_per_address_max: connections,
            accepts_per_address_per_second: accepts,
            ..Limits::default()
        }
    }

    #[test]
    fn a_customer_is_one_address_and_this_machine_none() {
        assert_eq!(key("2001:db8:1:2::3"), key("2001:db8:1:2:ffff::"));
        assert_ne!(key("2001:db8:1:2::3"), key("2001:db8:1:3::3"));
        assert_eq!(key("192.0.2.7"), key("::ffff:192.0.2.7"));
        assert_ne!(key("192.0.2.7"), key("192.0.2.8"));
        for own in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "0.0.0.0"] {
            assert_eq!(AddressKey::of(own.parse().unwrap()), None, "{own}");
        }
    }

    #[test]
    fn as_many_connections_as_allowed_are_admitted_and_each_end_makes_room() {
        let (addresses, limits) = (Addresses::default(), limits(3, 1_000));
        let admit = |text: &str| addresses.admit(key(text), &limits, Millis(0));
        for _ in 0..3 {
            assert_eq!(admit("192.0.2.7"), Ok(()));
        }
        assert_eq!(admit("192.0.2.7"), Err(Excess::Connections));
        assert_eq!(admit("192.0.2.8"), Ok(()));
        addresses.release(key("192.0.2.7"));
        assert_eq!(admit("192.0.2.7"), Ok(()));
        assert_eq!(admit("192.0.2.7"), Err(Excess::Connections));
    }

    #[test]
    fn as_many_a_second_as_allowed_are_admitted_and_one_more_is_not() {
        let (addresses, limits) = (Addresses::default(), limits(1_000, 4));
        let admitted = |now: u32| {
            let tries = 0..10;
            tries
                .filter(|_| addresses.admit(key("192.0.2.7"), &limits, Millis(now)).is_ok())
                .count()
        };
        assert_eq!((admitted(0), admitted(249), admitted(250), admitted(750)), (4, 0, 1, 2));
        assert_eq!(admitted(60_000), 4);
        assert_eq!(admitted(59_900), 0, "another shard's clock is behind");
        assert_eq!(admitted(60_500), 2);
    }

    #[test]
    fn addresses_that_are_gone_are_forgotten_and_their_haste_is_not() {
        let (addresses, limits) = (Addresses::default(), limits(10, 2));
        let known = || -> usize {
            addresses.parts.iter().map(|part| part.lock().unwrap().entries.len()).sum()
        };
        let all: Vec<AddressKey> = (0..200).map(|low| key(&format!("10.0.0.{low}"))).collect();
        for address in &all {
            addresses.admit(*address, &limits, Millis(1)).unwrap();
            addresses.admit(*address, &limits, Millis(1)).unwrap();
            addresses.release(*address);
            addresses.release(*address);
            assert_eq!(addresses.admit(*address, &limits, Millis(2)), Err(Excess::Rate));
        }
        assert_eq!(known(), 200);
        addresses.admit(all[0], &limits, Millis(900)).unwrap();
        for part in &addresses.parts {
            part.lock().unwrap().sweep(&limits, Millis(2_500));
        }
        assert_eq!(known(), 1, "the one that is connected");
    }
}
