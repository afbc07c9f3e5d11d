//! Frames: headers of every size, whole messages in and out, UTF-8.
//!
//! What is asserted inside a pass is what keeps it honest: work that failed would be cheap.

use std::hint::black_box;

use ringsock::buffer::Pool;
use ringsock::protocol::{Decoder, Encoder, Event, FrameHeader, MessageKind, Opcode, Role};
use ringsock::simd;

use super::{Pass, Work};

/// Enough that calling a pass does not show in the time of one operation.
const OPERATIONS: u64 = 64;
const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// Payloads whose headers have each of the three lengths.
const HEADER_PAYLOADS: [u64; 3] = [20, 1024, 65_536];
const MESSAGE_PAYLOADS: [usize; 3] = [20, 1024, 16_384];

pub(super) fn all() -> impl Iterator<Item = Work> {
    let headers = [None, Some(KEY)].into_iter().flat_map(|mask| {
        HEADER_PAYLOADS.into_iter().flat_map(move |payload| headers(payload, mask))
    });
    let messages = MESSAGE_PAYLOADS.into_iter().flat_map(|payload| {
        let kinds = [MessageKind::Text, MessageKind::Binary].into_iter();
        let decoded = kinds.map(move |kind| decode(payload, kind));
        let encoded =
            [Role::Server, Role::Client].into_iter().map(move |role| encode(payload, role));
        decoded.chain(encoded)
    });
    headers.chain(messages).chain(texts())
}

/// Encoding and parsing of one header.
fn headers(payload_bytes: u64, mask: Option<[u8; 4]>) -> [Work; 2] {
    let header =
        FrameHeader { fin: true, opcode: Opcode::Binary, compressed: false, mask, payload_bytes };
    let (bytes, size) = header.encode();
    let role = if mask.is_some() { Role::Server } else { Role::Client };
    let encode = move || -> Pass {
        Box::new(move || {
            for _ in 0..OPERATIONS {
                black_box(black_box(&header).encode());
            }
        })
    };
    let parse = move || -> Pass {
        Box::new(move || {
            for _ in 0..OPERATIONS {
                let parsed = FrameHeader::parse(black_box(&bytes[..size]), role, false);
                assert!(matches!(black_box(parsed), Ok(Some(_))));
            }
        })
    };
    [
        Work::new(format!("header encode/{size} B"), OPERATIONS, None, encode),
        Work::new(format!("header parse/{size} B"), OPERATIONS, None, parse),
    ]
}

/// Whole messages from a client, one behind another, unmasked where they lie.
fn decode(payload_bytes: usize, kind: MessageKind) -> Work {
    let operations = if payload_bytes > 1024 { 1 } else { 16 };
    let name = format!("decode {}/{payload_bytes} B", format!("{kind:?}").to_lowercase());
    Work::new(name, operations, Some(payload_bytes), move || {
        let mut sent = Vec::new();
        let payload = vec![b'a'; payload_bytes];
        for _ in 0..operations {
            Encoder::new(Role::Client).frame(&mut sent, kind.opcode(), true, &payload, &mut || KEY);
        }
        let mut received = sent.clone();
        let mut pool = Pool::new();
        Box::new(move || {
            // As the kernel does; a message can be unmasked only once.
            received.copy_from_slice(&sent);
            let mut decoder = Decoder::new(Role::Server);
            let mut input = &mut received[..];
            for _ in 0..operations {
                let event = decoder.next(&mut input, &mut pool, 1 << 20);
                assert!(matches!(black_box(event), Ok(Some(Event::Message { .. }))));
            }
        })
    })
}

/// A frame into a vector that has room, masked if from a client.
fn encode(payload_bytes: usize, role: Role) -> Work {
    let operations = if payload_bytes > 1024 { 1 } else { 16 };
    let name = format!("encode as {}/{payload_bytes} B", format!("{role:?}").to_lowercase());
    Work::new(name, operations, Some(payload_bytes), move || {
        let payload = vec![b'a'; payload_bytes];
        let mut out = Vec::with_capacity((payload_bytes + 14) * operations as usize);
        Box::new(move || {
            out.clear();
            for _ in 0..operations {
                let payload = black_box(&payload);
                Encoder::new(role).frame(&mut out, Opcode::Binary, true, payload, &mut || KEY);
            }
            black_box(&out);
        })
    })
}

fn texts() -> impl Iterator<Item = Work> {
    let scripts = [("ASCII", "plain words and no more, "), ("mixed", "Grüße, 日本語, שלום, 👋 ")];
    scripts.into_iter().flat_map(|(script, words)| {
        [20, 1024].map(|bytes| {
            let mut text = words.repeat(bytes / words.len() + 1);
            let end = (0..=bytes).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
            text.truncate(end);
            Work::new(format!("UTF-8 {script}/{bytes} B"), OPERATIONS, Some(bytes), move || {
                let text = text.clone();
                Box::new(move || {
                    for _ in 0..OPERATIONS {
                        assert!(simd::validate(black_box(text.as_bytes())));
                    }
                })
            })
        })
    })
}
