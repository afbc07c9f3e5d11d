//! Tables whose keys are numbers that the shard itself gives out: slots and topics. Nobody else
//! chooses them, so they need no keyed hash.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A table by slot or by topic.
pub(super) type ByNumber<V> = HashMap<u32, V, BuildHasherDefault<NumberHasher>>;

/// Spreads small numbers over all bits.
#[derive(Debug, Default)]
pub(super) struct NumberHasher(u64);

/// The hash of a number.
pub(super) fn hash(number: u32) -> u64 {
    let mixed = u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 32
}

/// One number made of two, of which the first is a keyed hash.
pub(super) fn mix(hash: u64, number: u64) -> u64 {
    let mixed = (hash ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 32
}

impl Hasher for NumberHasher {
    fn write_u32(&mut self, number: u32) {
        self.0 = hash(number);
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = hash(u32::from(byte)) ^ self.0.rotate_left(8);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
