//! permessage-deflate of JSON, without context takeover: compressing and restoring.
//!
//! What is compressed is short, as messages are; long texts are a matter of memory.

use std::hint::black_box;

use ringsock::protocol::MessageKind;
use ringsock::protocol::deflate::{Compressor, Inflater, WINDOW_BITS_MAX};

use super::{Pass, Work};
use crate::documents::json;

const PAYLOADS: [usize; 3] = [128, 1024, 4096];

pub(super) fn all() -> impl Iterator<Item = Work> {
    PAYLOADS.into_iter().flat_map(|payload_bytes| {
        let name = |verb: &str| format!("deflate {verb}/{payload_bytes} B");
        [
            Work::new(name("compress"), 1, Some(payload_bytes), move || compress(payload_bytes)),
            Work::new(name("restore"), 1, Some(payload_bytes), move || restore(payload_bytes)),
        ]
    })
}

fn compress(payload_bytes: usize) -> Pass {
    let (message, mut out) = (json(payload_bytes).into_bytes(), Vec::new());
    let mut compressor = Compressor::new();
    Box::new(move || {
        out.clear();
        assert!(compressor.compress(black_box(&message), WINDOW_BITS_MAX, &mut out));
    })
}

fn restore(payload_bytes: usize) -> Pass {
    let (message, mut compressed) = (json(payload_bytes).into_bytes(), Vec::new());
    assert!(Compressor::new().compress(&message, WINDOW_BITS_MAX, &mut compressed));
    let (mut inflater, mut out) = (Inflater::new(), Vec::new());
    Box::new(move || {
        out.clear();
        let compressed = black_box(&compressed);
        let restored = inflater.inflate(MessageKind::Text, compressed, None, 1 << 20, &mut out);
        assert!(restored.is_ok() && out.len() == message.len());
    })
}
