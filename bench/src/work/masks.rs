//! Unmasking, and what it is compared with: the copy of the same bytes, and a byte loop.
//!
//! Payloads lie one behind another as they do in a receive buffer, 12 KiB of them, so that
//! neither side is flattered: what is measured is neither the forwarding of a store to the load
//! of the same bytes, nor memory. A payload too large for that is alone.

use std::hint::black_box;

use ringsock::simd::apply_mask;

use super::{Pass, Work};

/// Bytes of payload, from the hottest case to the largest.
const SIZES: [usize; 6] = [20, 125, 1024, 16_384, 65_536, 1 << 20];
/// What the payloads of one pass amount to, at least one of them.
const ARENA_BYTES: usize = 12 * 1024;
/// A masked header and the odd start it gives a payload.
const HEADER_BYTES: usize = 6;
const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

pub(super) fn all() -> impl Iterator<Item = Work> {
    SIZES
        .into_iter()
        .map(|size| piece("unmask", size, |_, payload| apply_mask(payload, black_box(KEY), 0)))
}

/// What unmasking is compared with.
pub(super) fn yardsticks() -> impl Iterator<Item = Work> {
    SIZES.into_iter().flat_map(|size| {
        let byte_by_byte = |_: &[u8], payload: &mut [u8]| {
            let key = black_box(KEY);
            payload.iter_mut().enumerate().for_each(|(index, byte)| *byte ^= key[index % 4]);
        };
        [
            piece("memcpy", size, |source, payload| payload.copy_from_slice(source)),
            piece("unmask byte by byte", size, byte_by_byte),
        ]
    })
}

/// Does something to each payload of the arena, with as many other bytes at hand.
fn piece(
    name: &str,
    size: usize,
    each: impl Fn(&[u8], &mut [u8]) + Copy + Send + Sync + 'static,
) -> Work {
    let stride = size + HEADER_BYTES;
    let count = (ARENA_BYTES / stride).max(1);
    Work::new(format!("{name}/{size} B"), count as u64, Some(size), move || -> Pass {
        let source = vec![0x5A; count * stride];
        let mut target = vec![0xA5; count * stride];
        Box::new(move || {
            for (from, to) in source.chunks(stride).zip(target.chunks_mut(stride)) {
                let (from, to) = (&from[HEADER_BYTES..], &mut to[HEADER_BYTES..]);
                each(black_box(from), black_box(to));
            }
        })
    })
}
