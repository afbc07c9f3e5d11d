//! The compressed forms of a batch, one for each window that subscribers without context takeover
//! have agreed on. Whether a message is compressed is decided elsewhere.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::batch::Sealed;
use super::frames;
use super::tally::Tally;
use crate::protocol::compressed_frame;
use crate::protocol::deflate::{Compressor, WINDOW_BITS_MAX, WINDOW_BITS_MIN};

/// A set of windows, a bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Windows(pub(super) u8);

impl Windows {
    pub(super) fn of(bits: Option<u8>) -> Self {
        let place = bits.and_then(|bits| bits.checked_sub(WINDOW_BITS_MIN));
        Self(place.map_or(0, |place| 1 << place))
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn iter(self) -> impl Iterator<Item = u8> {
        let all = WINDOW_BITS_MIN..=WINDOW_BITS_MAX;
        all.filter(move |&bits| self.0 & Self::of(Some(bits)).0 != 0)
    }
}

/// What compression made of some messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Savings {
    /// How many were compressed.
    pub(crate) messages: u64,
    /// Their bytes before.
    pub(crate) from_bytes: u64,
    /// Their bytes after.
    pub(crate) to_bytes: u64,
}

/// A message of a form.
#[derive(Clone, Copy, Debug)]
struct Part {
    /// Where its frame ends.
    end: usize,
    /// Its payload's bytes before and after; `None` when it is as it was.
    compressed: Option<(usize, usize)>,
}

/// A batch in which messages are compressed.
#[derive(Clone, Debug)]
pub(super) struct Form {
    window_bits: u8,
    pub(super) frames: Bytes,
    parts: Arc<[Part]>,
}

impl Form {
    /// The forms of a batch for these windows. There is none where nothing became shorter.
    pub(super) fn all(
        sealed: &Sealed,
        windows: Windows,
        compressor: &mut Compressor,
    ) -> Arc<[Self]> {
        windows.iter().filter_map(|bits| Self::new(sealed, bits, compressor)).collect()
    }

    fn new(sealed: &Sealed, window_bits: u8, compressor: &mut Compressor) -> Option<Self> {
        let Sealed { batch, compress, whole } = sealed;
        if let Some(whole) = whole {
            let plain_bytes = whole.payload().len();
            let frames = whole.compressed(window_bits, compressor)?.clone();
            let compressed = Some((plain_bytes, frames::payload_bytes(&frames)));
            let parts = [Part { end: frames.len(), compressed }].into();
            return Some(Self { window_bits, frames, parts });
        }
        let mut bytes = Vec::with_capacity(batch.frames.len() / 2);
        let mut parts = Vec::with_capacity(compress.len());
        let mut wanted = compress.iter();
        batch.each(batch.all(), |frame, _, _| {
            let payload_bytes = frames::payload_bytes(frame);
            let payload = &frame[frame.len() - payload_bytes..];
            let kind = frames::kind(frame);
            let is_wanted = wanted.next().is_some_and(|&wanted| wanted);
            let shorter = is_wanted
                .then(|| compressed_frame(kind, payload, window_bits, compressor))
                .flatten();
            bytes.extend_from_slice(shorter.as_deref().unwrap_or(frame));
            let compressed =
                shorter.map(|shorter| (payload_bytes, frames::payload_bytes(&shorter)));
            parts.push(Part { end: bytes.len(), compressed });
        });
        let any = parts.iter().any(|part| part.compressed.is_some());
        any.then(|| Self { window_bits, frames: bytes.into(), parts: parts.into() })
    }

    /// The same form for a shard, where its bytes are counted.
    pub(super) fn for_shard(&self, tally: &Arc<Tally>) -> Self {
        Self { frames: tally.count(self.frames.clone(), 0), ..self.clone() }
    }

    pub(super) fn is_for(&self, window_bits: u8) -> bool {
        self.window_bits == window_bits
    }

    /// The frames of a run of messages, and what compression made of them.
    pub(super) fn run(&self, run: Range<u32>) -> (Bytes, Savings) {
        let (first, last) = (run.start as usize, run.end as usize);
        let begin = first.checked_sub(1).map_or(0, |before| self.parts[before].end);
        let mut savings = Savings::default();
        for (from_bytes, to_bytes) in self.parts[first..last].iter().filter_map(|p| p.compressed) {
            savings.messages += 1;
            savings.from_bytes += from_bytes as u64;
            savings.to_bytes += to_bytes as u64;
        }
        let end = self.parts[..last].last().map_or(0, |part| part.end);
        (self.frames.slice(begin..end.max(begin)), savings)
    }
}
