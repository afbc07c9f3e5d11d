//! permessage-deflate (RFC 7692) without I/O: agreement, compression, restoring. It frames nothing
//! and keeps no connection; which messages are compressed is the connection's business.
//!
//! Compressing is done here rather than by a general library: those clear tables of 128 KiB and
//! more before each short message and hold 130 to 330 KiB for each connection with context
//! takeover, where this holds nothing between messages without it, and 16 KiB with a window of
//! 4 KiB. Every window of the RFC is kept to exactly, the one of 256 bytes too, which zlib cannot
//! write. Restoring is the crate `zlib-rs`.

mod bits;
mod block;
mod compressor;
mod distances;
mod huffman;
mod inflater;
mod matches;
mod parameters;
#[cfg(test)]
mod tests;

pub use compressor::{CompressionContext, Compressor};
pub use distances::refers_beyond;
pub use inflater::{History, Inflater};
pub use parameters::{Deflate, DeflateAgreement, EXTENSION_NAME};

/// The smallest window of section 7.1.2 as a power of two: 256 bytes.
pub const WINDOW_BITS_MIN: u8 = 8;
/// The largest: 32 KiB.
pub const WINDOW_BITS_MAX: u8 = 15;
