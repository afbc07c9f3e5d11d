//! Masking and unmasking of payload bytes (RFC 6455 section 5.3), in place or while copying.
//!
//! This file reads no frame header and does not ask whether a key was random; it XORs. Payloads
//! up to [`INLINE_BYTES_MAX`] are by far the most common ones and are done right here, in a few
//! overlapping words; longer ones go to the widest instruction set of the machine.

use crate::simd::instruction_set::InstructionSet;
use crate::simd::loops::{BYTES_MIN, apply_to_ends, copy_ends, rotate};

/// Up to this many bytes no call into another instruction set pays for itself.
const INLINE_BYTES_MAX: usize = BYTES_MIN;

/// XORs `bytes` in place with the masking key; byte `i` meets `key[(phase + i) % 4]`, so a
/// payload may be handled in pieces. Masking and unmasking are the same operation.
///
/// Any length, alignment and phase is fine.
///
/// ```
/// let mut payload = *b"Hello";
/// ringsock::simd::apply_mask(&mut payload, [0x37, 0xfa, 0x21, 0x3d], 0);
/// assert_eq!(payload, [0x7f, 0x9f, 0x4d, 0x51, 0x58]); // RFC 6455 section 5.7
/// ```
#[inline]
pub fn apply_mask(bytes: &mut [u8], key: [u8; 4], phase: usize) {
    let key = rotate(u32::from_le_bytes(key), phase);
    match bytes.len() {
        0 => {}
        1..=3 => apply_to_few(bytes, key),
        4..=7 => apply_to_ends::<4>(bytes, key),
        8..=16 => apply_to_ends::<8>(bytes, key),
        17..=32 => apply_to_ends::<16>(bytes, key),
        33..=INLINE_BYTES_MAX => apply_to_ends::<32>(bytes, key),
        // SAFETY: `detected` answers with an instruction set that is available.
        _ => unsafe { InstructionSet::detected().apply(bytes, key) },
    }
}

/// Copies `source` into `destination`, masked as by [`apply_mask`], in one pass.
///
/// # Panics
/// If the two lengths differ.
#[inline]
pub fn copy_and_mask(source: &[u8], destination: &mut [u8], key: [u8; 4], phase: usize) {
    assert_eq!(source.len(), destination.len(), "masked copy between slices of unequal length");
    let key = rotate(u32::from_le_bytes(key), phase);
    match source.len() {
        0 => {}
        1..=3 => {
            destination.copy_from_slice(source);
            apply_to_few(destination, key);
        }
        4..=7 => copy_ends::<4>(source, destination, key),
        8..=16 => copy_ends::<8>(source, destination, key),
        17..=32 => copy_ends::<16>(source, destination, key),
        33..=INLINE_BYTES_MAX => copy_ends::<32>(source, destination, key),
        // SAFETY: `detected` answers with an instruction set that is available.
        _ => unsafe { InstructionSet::detected().copy(source, destination, key) },
    }
}

/// The name of the instruction set that long payloads are masked with, for logs and records:
/// `avx512`, `avx2`, `sse2`, `neon` or `portable`.
pub fn mask_in_use() -> &'static str {
    InstructionSet::detected().name()
}

/// One to three bytes.
#[inline(always)]
fn apply_to_few(bytes: &mut [u8], key: u32) {
    for (byte, key) in bytes.iter_mut().zip(key.to_le_bytes()) {
        *byte ^= key;
    }
}
