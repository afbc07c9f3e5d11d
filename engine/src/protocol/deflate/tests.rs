//! Our compressor against zlib, zlib against our inflater, and both against each other.

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_HAS_MORE_INPUT;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};
use zlib_rs::{Deflate as Zlib, DeflateFlush, Inflate, InflateFlush};

use super::*;
use crate::protocol::MessageKind;

/// Pseudo-random numbers, the same each time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound
    }

    /// A message of one of several sorts: noise, few symbols, words, long runs.
    fn message(&mut self, bytes_max: usize) -> Vec<u8> {
        let length = match self.below(4) {
            0 => self.below(20),
            1 => self.below(300),
            _ => self.below(bytes_max),
        };
        let sort = self.below(4);
        let mut out = Vec::new();
        while out.len() < length {
            match sort {
                0 => out.push(self.below(256) as u8),
                1 => out.push(b'a' + self.below(3) as u8),
                2 => out.extend_from_slice(
                    format!("{{\"id\":{},\"on\":true}}", self.below(500)).as_bytes(),
                ),
                _ => out.extend(std::iter::repeat_n(self.below(256) as u8, self.below(700) + 1)),
            }
        }
        out.truncate(length);
        out
    }

    /// A message of noise and of pieces that were there before, in it or in `before`, from any
    /// distance up to twice the window.
    fn recalling(&mut self, before: &[u8], window_bytes: usize) -> Vec<u8> {
        let mut all = before[before.len().saturating_sub(2 * window_bytes)..].to_vec();
        let start = all.len();
        let end = start + self.below(3 * window_bytes);
        while all.len() < end {
            let (distance, length) = (self.below(2 * window_bytes) + 1, self.below(40) + 3);
            match all.len().checked_sub(distance) {
                Some(from) => all.extend_from_within(from..from + length.min(distance)),
                None => all.extend((0..length).map(|_| self.below(256) as u8)),
            }
        }
        all.split_off(start)
    }
}

/// An independent inflater that has a window of exactly so many bytes: what lies farther back is not
/// there any more. zlib-rs has always the largest.
struct Windowed {
    stream: DecompressorOxide,
    window: Vec<u8>,
    at: usize,
}

impl Windowed {
    fn new(window_bits: u8) -> Self {
        let stream = DecompressorOxide::default();
        Self { stream, window: vec![0; 1 << window_bits], at: 0 }
    }

    /// Restores a message behind those before it; `None` when it cannot be restored.
    fn inflate(&mut self, compressed: &[u8]) -> Option<Vec<u8>> {
        let input = [compressed, &[0, 0, 0xff, 0xff]].concat();
        let (mut rest, mut out) = (&input[..], Vec::new());
        loop {
            let (stream, window) = (&mut self.stream, &mut self.window);
            let (status, used, written) =
                decompress(stream, rest, window, self.at, TINFL_FLAG_HAS_MORE_INPUT);
            out.extend_from_slice(&self.window[self.at..self.at + written]);
            self.at = (self.at + written) % self.window.len();
            rest = &rest[used..];
            match status {
                TINFLStatus::NeedsMoreInput if rest.is_empty() => return Some(out),
                TINFLStatus::HasMoreOutput => {}
                _ => return None,
            }
        }
    }
}

/// What zlib makes of a compressed message, with the same stream before and after.
fn zlib_inflate(stream: &mut Inflate, compressed: &[u8]) -> Vec<u8> {
    let mut input = [compressed, &[0, 0, 0xff, 0xff]].concat();
    let mut out = Vec::new();
    let mut chunk = vec![0; 4096];
    loop {
        let (used, written) = (stream.total_in(), stream.total_out());
        stream.decompress(&input, &mut chunk, InflateFlush::SyncFlush).unwrap();
        let written = (stream.total_out() - written) as usize;
        out.extend_from_slice(&chunk[..written]);
        input.drain(..(stream.total_in() - used) as usize);
        if input.is_empty() && written < chunk.len() {
            return out;
        }
    }
}

/// A message as zlib compresses it.
fn zlib_deflate(stream: &mut Zlib, message: &[u8]) -> Vec<u8> {
    if message.is_empty() {
        // Flushing nothing writes nothing; this is how section 7.2.3.6 has it.
        return vec![0];
    }
    let mut out = vec![0; message.len() + message.len() / 8 + 100];
    let before = stream.total_out();
    stream.compress(message, &mut out, DeflateFlush::SyncFlush).unwrap();
    out.truncate((stream.total_out() - before) as usize);
    assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
    out.truncate(out.len() - 4);
    out
}

#[test]
fn zlib_restores_what_was_compressed_with_any_window_and_no_context() {
    let mut random = Random(1);
    let mut compressor = Compressor::new();
    let mut inflater = Inflater::new();
    for round in 0..300 {
        let bits = 8 + (round % 8) as u8;
        let message = random.message(if round % 50 == 0 { 100_000 } else { 5000 });
        let mut out = b"before".to_vec();
        if !compressor.compress(&message, bits, &mut out) {
            assert_eq!(out, b"before");
            continue;
        }
        let compressed = out.split_off(6);
        assert!(compressed.len() < message.len());
        // zlib takes 9 bits for 8.
        let mut zlib = Inflate::new(false, bits.max(9));
        assert_eq!(zlib_inflate(&mut zlib, &compressed), message, "round {round}");
        let mut restored = Vec::new();
        inflater
            .inflate(MessageKind::Binary, &compressed, None, message.len(), &mut restored)
            .unwrap();
        assert_eq!(restored, message, "round {round}");
    }
}

#[test]
fn zlib_restores_what_refers_to_earlier_messages_with_any_window() {
    for bits in 8..=15 {
        let mut random = Random(bits.into());
        let mut compressor = Compressor::new();
        let mut context = CompressionContext::new(bits);
        let (mut history, mut inflater) = (History::new(bits), Inflater::new());
        let mut zlib = Inflate::new(false, bits.max(9));
        let mut compressed_bytes = 0;
        for round in 0..80 {
            let message = random.message(if round % 20 == 0 { 70_000 } else { 2000 });
            let mut compressed = Vec::new();
            // What another connection compresses in between leaves no trace.
            compressor.compress(&random.message(100), 15, &mut Vec::new());
            if !compressor.compress_on(&mut context, &message, &mut compressed) {
                continue;
            }
            compressed_bytes += compressed.len();
            assert_eq!(zlib_inflate(&mut zlib, &compressed), message, "{bits} bits, round {round}");
            let mut restored = Vec::new();
            inflater
                .inflate(
                    MessageKind::Binary,
                    &compressed,
                    Some(&mut history),
                    1 << 20,
                    &mut restored,
                )
                .unwrap();
            assert_eq!(restored, message, "{bits} bits, round {round}");
        }
        assert!(compressed_bytes > 0);
    }
}

#[test]
fn the_oracle_for_windows_refuses_what_reaches_beyond() {
    let mut random = Random(6);
    let once: Vec<u8> = (0..40).map(|_| random.below(256) as u8).collect();
    for bits in 8..=14 {
        for (distance, beyond) in [(1 << bits, false), ((1 << bits) + 1, true)] {
            let mut message = once.clone();
            message.resize(distance, b'.');
            message.extend_from_slice(&once);
            let mut compressed = Vec::new();
            assert!(Compressor::new().compress(&message, bits + 1, &mut compressed));
            let restored = Windowed::new(bits).inflate(&compressed);
            assert_eq!(restored, (!beyond).then_some(message), "{bits} bits, distance {distance}");
        }
    }
}

#[test]
fn what_is_compressed_for_a_window_needs_no_larger_one_to_be_restored() {
    for bits in 8..=15 {
        for takeover in [false, true] {
            let mut random = Random(u64::from(bits) * 2 + u64::from(takeover));
            let mut compressor = Compressor::new().keeping_longer();
            let mut context = CompressionContext::new(bits);
            let mut oracle = Windowed::new(bits);
            let (window_bytes, mut sent) = (1 << bits, Vec::new());
            for round in 0..30 {
                let message = match round % 2 {
                    0 => random.message(3 * window_bytes),
                    _ => random.recalling(&sent, window_bytes),
                };
                let mut compressed = Vec::new();
                if takeover {
                    assert!(compressor.compress_on(&mut context, &message, &mut compressed));
                } else {
                    assert!(compressor.compress(&message, bits, &mut compressed));
                    oracle = Windowed::new(bits);
                }
                let case = format!("{bits} bits, context takeover {takeover}, message {round}");
                assert!(!refers_beyond(&compressed, bits), "{case}");
                let restored = oracle.inflate(&compressed);
                assert!(restored.is_some_and(|restored| restored == message), "{case}");
                sent.extend_from_slice(&message);
            }
        }
    }
}

#[test]
fn a_context_holds_between_messages_what_was_promised_and_no_more() {
    for bits in 8..=15 {
        let mut random = Random(u64::from(bits) + 100);
        let (mut compressor, mut context) = (Compressor::new(), CompressionContext::new(bits));
        for round in 0..60 {
            let length = random.below(if round % 6 == 0 { 300_000 } else { 3_000 });
            let noise: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
            for message in [noise, random.message(length + 1)] {
                compressor.compress_on(&mut context, &message, &mut Vec::new());
                let (held, promised) =
                    (context.held_bytes(), CompressionContext::memory_bytes(bits));
                assert!(held <= promised, "{bits} bits: {held} bytes instead of {promised}");
            }
        }
    }
}

#[test]
fn what_becomes_longer_is_compressed_only_when_asked_for() {
    let mut random = Random(9);
    let noise: Vec<u8> = (0..200).map(|_| random.below(256) as u8).collect();
    let mut usual = Compressor::new();
    let mut keeping = Compressor::new().keeping_longer();
    let (mut history, mut inflater) = (History::new(9), Inflater::new());
    let mut context = CompressionContext::new(9);
    for message in [&b""[..], b"x", &noise[..3], &noise, &noise] {
        assert!(!usual.compress(&message[..message.len().min(150)], 15, &mut Vec::new()));
        let mut compressed = Vec::new();
        assert!(keeping.compress_on(&mut context, message, &mut compressed));
        let mut out = Vec::new();
        let history = Some(&mut history);
        inflater.inflate(MessageKind::Binary, &compressed, history, 1000, &mut out).unwrap();
        assert_eq!(out, message);
    }
}

#[test]
fn references_reach_back_exactly_as_far_as_the_window() {
    let mut random = Random(5);
    let once: Vec<u8> = (0..40).map(|_| random.below(256) as u8).collect();
    for bits in 8..=15 {
        let mut lengths = Vec::new();
        for distance in [(1 << bits) - 1, 1 << bits, (1 << bits) + 1] {
            let mut message = once.clone();
            message.resize(distance, b'.');
            message.extend_from_slice(&once);
            let mut out = Vec::new();
            assert!(Compressor::new().compress(&message, bits, &mut out));
            lengths.push(out.len());
        }
        assert!(lengths[1] < lengths[0] + 5, "{bits} bits: {lengths:?}");
        assert!(lengths[2] > lengths[1] + 15, "{bits} bits: {lengths:?}");
    }
}

#[test]
fn what_zlib_compresses_is_restored_at_every_level_and_window() {
    for bits in 9..=15 {
        for level in [0, 1, 2, 6, 9] {
            let mut random = Random(u64::from(bits) * 10 + level as u64);
            let mut kept = Zlib::new(level, false, bits);
            let (mut inflater, mut history) = (Inflater::new(), History::new(bits));
            for round in 0..8 {
                let message = random.message(20_000);
                let with_context = zlib_deflate(&mut kept, &message);
                let mut alone = Zlib::new(level, false, bits);
                let alone = zlib_deflate(&mut alone, &message);
                for (compressed, history) in [(with_context, Some(&mut history)), (alone, None)] {
                    let mut out = b"headroom".to_vec();
                    inflater
                        .inflate(MessageKind::Binary, &compressed, history, message.len(), &mut out)
                        .unwrap();
                    assert_eq!(out[8..], message, "{bits} bits, level {level}, round {round}");
                }
            }
        }
    }
}
