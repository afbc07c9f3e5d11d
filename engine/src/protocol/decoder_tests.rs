//! The decoder against streams made by a seeded generator: whatever the stream and however it is
//! cut, the events are those that the stream was made from, and an error comes at the same place.

use super::decoder::{Decoder, Event};
use super::frame::{FrameHeader, Opcode, Role};
use super::{MessageKind, ProtocolError};
use crate::buffer::Pool;
use crate::simd::apply_mask;

/// Events in a form that can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Message(MessageKind, Vec<u8>),
    Compressed(MessageKind, Vec<u8>),
    Chunk(MessageKind, Vec<u8>, bool, bool),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
    Error(ProtocolError),
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn frame(out: &mut Vec<u8>, opcode: Opcode, fin: bool, payload: &[u8], mask: Option<[u8; 4]>) {
    let header =
        FrameHeader { fin, compressed: false, opcode, mask, payload_bytes: payload.len() as u64 };
    let (bytes, size) = header.encode();
    out.extend_from_slice(&bytes[..size]);
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(mask) = mask {
        apply_mask(&mut out[start..], mask, 0);
    }
}

fn text(random: &mut Random, characters: u64) -> Vec<u8> {
    let alphabet = ['a', 'é', '€', '😀', '\u{7ff}', '\u{800}', '\u{10ffff}', '\0'];
    let pick = |random: &mut Random| alphabet[random.below(alphabet.len() as u64) as usize];
    (0..characters).map(|_| pick(random)).collect::<String>().into_bytes()
}

/// A stream of messages, fragmented anyhow and interleaved with control frames.
fn stream(random: &mut Random, role: Role) -> (Vec<u8>, Vec<Seen>) {
    let mut out = Vec::new();
    let mut seen = Vec::new();
    for _ in 0..1 + random.below(6) {
        let kind = [MessageKind::Text, MessageKind::Binary][random.below(2) as usize];
        let scale = [4, 60, 200, 30_000][random.below(4) as usize];
        let length = random.below(scale);
        let compressed = random.below(5) == 0;
        let payload = match kind {
            MessageKind::Text if !compressed => text(random, length),
            _ => (0..length).map(|_| random.below(256) as u8).collect(),
        };
        let mut rest = &payload[..];
        let mut opcode = kind.opcode();
        loop {
            let mask = (role == Role::Server).then(|| (random.below(1 << 32) as u32).to_ne_bytes());
            let part = match random.below(3) {
                0 => rest.len(),
                _ => random.below(rest.len() as u64 + 1) as usize,
            };
            let fin = part == rest.len() && random.below(4) > 0;
            let start = out.len();
            frame(&mut out, opcode, fin, &rest[..part], mask);
            out[start] |= u8::from(compressed && opcode != Opcode::Continuation) << 6;
            rest = &rest[part..];
            if fin {
                break;
            }
            opcode = Opcode::Continuation;
            if random.below(3) == 0 {
                let body: Vec<u8> = (0..random.below(126)).map(|byte| byte as u8).collect();
                frame(&mut out, Opcode::Ping, true, &body, mask);
                seen.push(Seen::Ping(body));
            }
        }
        seen.push(match compressed {
            true => Seen::Compressed(kind, payload),
            false => Seen::Message(kind, payload),
        });
        if random.below(4) == 0 {
            frame(&mut out, Opcode::Pong, true, b"p", (role == Role::Server).then_some([0; 4]));
            seen.push(Seen::Pong(b"p".to_vec()));
        }
    }
    (out, seen)
}

fn drain(decoder: &mut Decoder, pool: &mut Pool, piece: &[u8], seen: &mut Vec<Seen>) -> bool {
    let mut piece = piece.to_vec();
    let mut input = &mut piece[..];
    loop {
        let event = match decoder.next(&mut input, pool, 1 << 20) {
            Ok(Some(event)) => event,
            Ok(None) => {
                assert!(input.is_empty(), "what is not an event yet must have been taken in");
                return true;
            }
            Err(error) => {
                seen.push(Seen::Error(error));
                return false;
            }
        };
        seen.push(match event {
            Event::EmptyFragment => continue,
            Event::Chunk { kind, payload, is_first, is_last } => {
                Seen::Chunk(kind, payload.bytes().to_vec(), is_first, is_last)
            }
            Event::Message { kind, payload } => Seen::Message(kind, payload.bytes().to_vec()),
            Event::Compressed { kind, payload } => Seen::Compressed(kind, payload.bytes().to_vec()),
            Event::Ping(payload) => Seen::Ping(payload.bytes().to_vec()),
            Event::Pong(payload) => Seen::Pong(payload.bytes().to_vec()),
            Event::Close { code, .. } => Seen::Close(code.map(|code| code.0)),
        });
    }
}

fn decode(role: Role, bytes: &[u8], piece_bytes: impl FnMut() -> usize) -> Vec<Seen> {
    decode_with(Decoder::new(role), bytes, piece_bytes)
}

fn decode_with(
    mut decoder: Decoder,
    bytes: &[u8],
    mut piece_bytes: impl FnMut() -> usize,
) -> Vec<Seen> {
    let (mut pool, mut seen) = (Pool::new(), Vec::new());
    decoder.accept_compressed();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(piece_bytes().clamp(1, rest.len()));
        rest = after;
        if !drain(&mut decoder, &mut pool, piece, &mut seen) {
            break;
        }
    }
    seen
}

#[test]
fn any_stream_in_any_pieces_gives_the_messages_it_was_made_from() {
    for seed in 1..400 {
        let mut random = Random(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15));
        let role = [Role::Server, Role::Client][random.below(2) as usize];
        let (bytes, expected) = stream(&mut random, role);
        assert_eq!(decode(role, &bytes, || usize::MAX), expected, "seed {seed}, whole");
        assert_eq!(decode(role, &bytes, || 1), expected, "seed {seed}, byte by byte");
        let scale = 1 + random.below(5000);
        let pieces = decode(role, &bytes, || random.below(scale) as usize);
        assert_eq!(pieces, expected, "seed {seed}, pieces below {scale}");
    }
}

#[test]
fn a_corrupted_stream_fails_alike_in_any_pieces_and_never_panics() {
    for seed in 1..2000 {
        let mut random = Random(u64::wrapping_mul(seed, 0x2545_f491_4f6c_dd1d));
        let (mut bytes, _) = stream(&mut random, Role::Server);
        bytes.truncate(4000);
        for _ in 0..1 + random.below(4) {
            let place = random.below(bytes.len() as u64) as usize;
            bytes[place] = random.below(256) as u8;
        }
        let whole = decode(Role::Server, &bytes, || usize::MAX);
        let single = decode(Role::Server, &bytes, || 1);
        // Bytewise input may show an error before a frame is whole that the whole stream shows
        // after it; what was delivered before must be the same.
        let errors =
            |seen: &[Seen]| seen.iter().filter(|seen| matches!(seen, Seen::Error(_))).count();
        if errors(&whole) == 0 && errors(&single) == 0 {
            assert_eq!(whole, single, "seed {seed}");
        }
        let delivered = |seen: &[Seen]| {
            let keep = |seen: &&Seen| !matches!(seen, Seen::Error(_));
            seen.iter().filter(keep).cloned().collect::<Vec<_>>()
        };
        assert_eq!(delivered(&whole), delivered(&single), "seed {seed}");
    }
}

#[test]
fn a_direct_receive_gives_the_same_message_as_any_other() {
    for (kind, length) in [(MessageKind::Binary, 300_000), (MessageKind::Text, 100_001)] {
        let payload: Vec<u8> = (0..length).map(|index| b'a' + (index % 23) as u8).collect();
        let mut bytes = Vec::new();
        frame(&mut bytes, kind.opcode(), true, &payload, Some([1, 2, 3, 4]));
        let (mut decoder, mut pool, mut seen) =
            (Decoder::new(Role::Server), Pool::new(), Vec::new());
        assert!(drain(&mut decoder, &mut pool, &bytes[..1001], &mut seen));
        let mut rest = &bytes[1001..];
        let mut step = 1;
        let event = loop {
            assert_eq!(decoder.missing_bytes(), rest.len() as u64);
            let (mut assembly, room) = decoder.lend_assembly(&mut pool).unwrap();
            assert!(room >= rest.len().min(64 * 1024) && room <= rest.len());
            let bound = 4 * assembly.len().max(64 * 1024);
            assert!(assembly.capacity() <= bound, "room grows with what arrived");
            let appended = step.min(room);
            step = step * 7 + 3;
            assembly.extend_from_slice(&rest[..appended]);
            rest = &rest[appended..];
            match decoder.take_back(assembly, appended).unwrap() {
                Some(event) => break event,
                None => assert!(!rest.is_empty()),
            }
        };
        let Event::Message { kind: got, payload: read } = event else { panic!() };
        assert_eq!((got, read.bytes()), (kind, &payload[..]));
        assert!(!decoder.is_assembling());
    }
}

#[test]
fn a_message_over_the_limit_is_refused_on_its_header() {
    let limit = 1000;
    let refused = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let mut pool = Pool::new();
        let mut decoder = Decoder::new(Role::Client);
        let mut input = &mut bytes[..];
        loop {
            match decoder.next(&mut input, &mut pool, limit) {
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => return Some(error),
            }
        }
    };
    let mut exact = Vec::new();
    frame(&mut exact, Opcode::Binary, true, &[0; 1000], None);
    assert_eq!(refused(&exact), None);
    assert_eq!(refused(&[0x82, 126, 0x03, 0xe9]), Some(ProtocolError::MessageTooBig));
    let mut fragments = Vec::new();
    frame(&mut fragments, Opcode::Binary, false, &[0; 600], None);
    fragments.extend_from_slice(&[0x80, 126, 0x01, 0x91]);
    assert_eq!(refused(&fragments), Some(ProtocolError::MessageTooBig));
    fragments[607] = 0x90;
    assert_eq!(refused(&fragments), None);
}

#[test]
fn bad_text_fails_at_its_first_bad_byte_inside_a_frame() {
    let mut bytes = vec![0x81, 126, 0x01, 0x00];
    bytes.extend_from_slice(b"good \xf4\x90");
    let seen = decode(Role::Client, &bytes, || usize::MAX);
    assert_eq!(seen, [Seen::Error(ProtocolError::InvalidUtf8)]);
    let cut = decode(Role::Client, &bytes[..bytes.len() - 1], || usize::MAX);
    assert_eq!(cut, []);
}

/// The header of a frame and the first bytes of its payload.
fn beginning(payload_bytes: u64, here: usize) -> Vec<u8> {
    let (opcode, mask) = (Opcode::Binary, Some([0; 4]));
    let header = FrameHeader { fin: true, compressed: false, opcode, mask, payload_bytes };
    let (bytes, size) = header.encode();
    let mut out = bytes[..size].to_vec();
    out.resize(size + here, 7);
    out
}

#[test]
fn what_is_held_is_the_room_taken_and_no_more_than_twice_what_can_be_used() {
    let (mut pool, message_bytes_max) = (Pool::new(), 16 << 20);
    pool.give(Vec::with_capacity(16 << 20));
    let mut decoder = Decoder::new(Role::Server);
    let mut input = beginning(60_000, 3_000);
    assert!(decoder.next(&mut &mut input[..], &mut pool, message_bytes_max).unwrap().is_none());
    assert!((3_000..=120_032).contains(&decoder.held_bytes()), "{}", decoder.held_bytes());
    assert_eq!(pool.kept_bytes(), 16 << 20);
    // Whoever announces much may get what is at hand, and is held to have it.
    let mut decoder = Decoder::new(Role::Server);
    let mut input = beginning(10 << 20, 3_000);
    assert!(decoder.next(&mut &mut input[..], &mut pool, message_bytes_max).unwrap().is_none());
    assert_eq!((decoder.held_bytes(), pool.kept_bytes()), (16 << 20, 0));
    let (assembly, _) = decoder.lend_assembly(&mut pool).unwrap();
    assert_eq!(decoder.held_bytes(), 16 << 20);
    decoder.take_back(assembly, 0).unwrap();
    assert_eq!(decoder.held_bytes(), 16 << 20);
    decoder.release(&mut pool);
    assert_eq!((decoder.held_bytes(), pool.kept_bytes()), (0, 16 << 20));
}

/// What whole messages the pieces make, with all that came between them.
fn joined(seen: Vec<Seen>) -> Vec<Seen> {
    let (mut whole, mut open): (Vec<Seen>, Option<(MessageKind, Vec<u8>)>) = (Vec::new(), None);
    for one in seen {
        let Seen::Chunk(kind, bytes, is_first, is_last) = one else {
            whole.push(one);
            continue;
        };
        assert_eq!(is_first, open.is_none(), "the first piece says so, and no other");
        let (begun, message) = open.get_or_insert((kind, Vec::new()));
        assert_eq!(kind, *begun);
        assert!(!bytes.is_empty() || is_last, "a piece without a byte says nothing");
        message.extend(bytes);
        if is_last && let Some((kind, message)) = open.take() {
            whole.push(Seen::Message(kind, message));
        }
    }
    assert!(open.is_none(), "each message ends");
    whole
}

#[test]
fn pieces_make_the_messages_they_are_of_whatever_the_cuts() {
    for seed in 1..400 {
        let mut random = Random(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15));
        let role = [Role::Server, Role::Client][random.below(2) as usize];
        let (bytes, expected) = stream(&mut random, role);
        let scale = 1 + random.below(5000);
        for pieces in [usize::MAX, 1, 7, 0] {
            let mut decoder = Decoder::new(role);
            decoder.receive_chunks(true);
            let size = || if pieces > 0 { pieces } else { random.below(scale) as usize };
            let seen = decode_with(decoder, &bytes, size);
            assert_eq!(joined(seen), expected, "seed {seed}, pieces of {pieces}");
        }
    }
}

#[test]
fn a_message_in_pieces_may_be_longer_than_any_that_is_assembled() {
    let mut decoder = Decoder::new(Role::Server);
    decoder.receive_chunks(true);
    let mut pool = Pool::new();
    let mut input = beginning(1 << 40, 100);
    let event = decoder.next(&mut &mut input[..], &mut pool, 1000).unwrap();
    assert!(
        matches!(event, Some(Event::Chunk { is_first: true, is_last: false, .. })),
        "{event:?}"
    );
    assert_eq!((decoder.held_bytes(), decoder.missing_bytes()), (0, 0));
    // Whole again from the next message on, and held to the limit again.
    decoder.receive_chunks(false);
    let mut more = [7; 50];
    let event = decoder.next(&mut &mut more[..], &mut pool, 1000).unwrap();
    assert!(matches!(event, Some(Event::Chunk { is_first: false, .. })), "{event:?}");
}
