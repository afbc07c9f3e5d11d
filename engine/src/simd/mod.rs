//! Byte loops that are worth writing for the vector units: masking (RFC 6455 section 5.3) and
//! UTF-8 validation (RFC 6455 section 8.1).
//!
//! Nothing here knows frames, messages or connections, allocates, or keeps state of its own
//! beyond which instruction set was detected. Each routine takes slices and answers at once, and
//! each is compared in its tests with an oracle of a few obvious lines.
//!
//! Masking is written once, in safe code, and compiled several times with different target
//! features; the calls into those compilations are the only `unsafe` in this module.

#![expect(unsafe_code, reason = "code compiled for detected instruction sets is unsafe to call")]

mod instruction_set;
mod loops;
mod mask;
mod utf8;

#[cfg(test)]
mod mask_tests;
#[cfg(test)]
mod utf8_tests;

pub use mask::{apply_mask, copy_and_mask, mask_in_use};
pub use utf8::{Utf8Error, Utf8Stream, validate};
