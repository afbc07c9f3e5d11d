//! The decoder against a plain one that looks at whole frames in one piece of memory, at any cut.

use ringsock::buffer::Pool;
use ringsock::protocol::{Decoder, Event, MessageKind, Role};

use super::cuts::Cuts;

const MESSAGE_BYTES_MAX: u64 = 4096;

#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Message(MessageKind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
}

/// How a stream stands after its last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// More may follow.
    Waiting,
    Closed,
    Failed,
}

/// RFC 6455 section 7.4: the codes that a Close frame may carry.
fn is_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// One frame as sections 5.2 to 5.5 describe it, without looking at what came before it.
struct Frame {
    fin: bool,
    opcode: u8,
    payload: Vec<u8>,
    size: usize,
}

enum Look {
    Frame(Frame),
    Cut { opcode: u8, length: u64 },
    CutHeader,
    Bad,
}

fn look(bytes: &[u8], role: Role) -> Look {
    let &[first, second, ..] = bytes else { return Look::CutHeader };
    let (fin, opcode, length) = (first & 0x80 != 0, first & 0x0f, second & 0x7f);
    let control = opcode >= 8;
    if first & 0x70 != 0
        || !matches!(opcode, 0 | 1 | 2 | 8 | 9 | 10)
        || (second & 0x80 != 0) != (role == Role::Server)
        || (control && (!fin || length > 125))
    {
        return Look::Bad;
    }
    let (length, mut size) = match length {
        126 => match bytes.get(2..4) {
            Some(bytes) => (u64::from(u16::from_be_bytes(bytes.try_into().unwrap())), 4),
            None => return Look::CutHeader,
        },
        127 => match bytes.get(2..10) {
            Some(bytes) => (u64::from_be_bytes(bytes.try_into().unwrap()), 10),
            None => return Look::CutHeader,
        },
        length => (u64::from(length), 2),
    };
    let least = [0, 0, 0, 0, 126, 0, 0, 0, 0, 0, 65_536][size];
    if length < least || length >> 63 != 0 {
        return Look::Bad;
    }
    let mut mask = [0; 4];
    if role == Role::Server {
        match bytes.get(size..size + 4) {
            Some(bytes) => mask.copy_from_slice(bytes),
            None => return Look::CutHeader,
        }
        size += 4;
    }
    let Some(payload) = usize::try_from(length)
        .ok()
        .and_then(|length| bytes.get(size..)?.get(..length).map(<[u8]>::to_vec))
    else {
        return Look::Cut { opcode, length };
    };
    let payload: Vec<u8> =
        payload.iter().enumerate().map(|(index, byte)| byte ^ mask[index % 4]).collect();
    let size = size + payload.len();
    Look::Frame(Frame { fin, opcode, payload, size })
}

/// The events of a stream, and how it ends.
fn oracle(mut bytes: &[u8], role: Role) -> (Vec<Seen>, End) {
    let mut seen = Vec::new();
    let mut message: Option<(MessageKind, Vec<u8>)> = None;
    loop {
        let frame = match look(bytes, role) {
            Look::Bad => return (seen, End::Failed),
            Look::CutHeader => return (seen, End::Waiting),
            Look::Cut { opcode, length } => {
                let held = message.as_ref().map_or(0, |(_, payload)| payload.len() as u64);
                let misplaced = match opcode {
                    0 => message.is_none(),
                    1 | 2 => message.is_some(),
                    _ => false,
                };
                let too_big = opcode < 8 && held.saturating_add(length) > MESSAGE_BYTES_MAX;
                return (seen, if misplaced || too_big { End::Failed } else { End::Waiting });
            }
            Look::Frame(frame) => frame,
        };
        bytes = &bytes[frame.size..];
        match frame.opcode {
            9 => seen.push(Seen::Ping(frame.payload)),
            10 => seen.push(Seen::Pong(frame.payload)),
            8 => match frame.payload.split_first_chunk::<2>() {
                None if frame.payload.is_empty() => {
                    seen.push(Seen::Close(None, String::new()));
                    return (seen, End::Closed);
                }
                None => return (seen, End::Failed),
                Some((code, reason)) => {
                    let code = u16::from_be_bytes(*code);
                    let Ok(reason) = String::from_utf8(reason.to_vec()) else {
                        return (seen, End::Failed);
                    };
                    if !is_code(code) {
                        return (seen, End::Failed);
                    }
                    seen.push(Seen::Close(Some(code), reason));
                    return (seen, End::Closed);
                }
            },
            opcode => {
                let (kind, mut whole) = match (opcode, message.take()) {
                    (0, Some(message)) => message,
                    (1, None) => (MessageKind::Text, Vec::new()),
                    (2, None) => (MessageKind::Binary, Vec::new()),
                    _ => return (seen, End::Failed),
                };
                whole.extend_from_slice(&frame.payload);
                if whole.len() as u64 > MESSAGE_BYTES_MAX {
                    return (seen, End::Failed);
                }
                if kind == MessageKind::Text
                    && let Err(error) = std::str::from_utf8(&whole)
                    && (frame.fin || error.error_len().is_some())
                {
                    return (seen, End::Failed);
                }
                match frame.fin {
                    true => seen.push(Seen::Message(kind, whole)),
                    false => message = Some((kind, whole)),
                }
            }
        }
    }
}

/// What the decoder says of the same stream, told to hand on messages whole or in chunks.
fn decode<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
    role: Role,
    chunks: bool,
) -> (Vec<Seen>, End) {
    let (mut decoder, mut pool, mut seen) = (Decoder::new(role), Pool::new(), Vec::new());
    let (mut message, mut begun) = (Vec::new(), false);
    decoder.receive_chunks(chunks);
    for piece in pieces {
        let mut piece = piece.to_vec();
        let mut input = &mut piece[..];
        loop {
            match decoder.next(&mut input, &mut pool, MESSAGE_BYTES_MAX as usize) {
                Ok(Some(Event::Message { kind, payload })) => {
                    seen.push(Seen::Message(kind, payload.bytes().to_vec()));
                }
                Ok(Some(Event::Chunk { kind, payload, is_first, is_last })) => {
                    assert_eq!(is_first, !std::mem::replace(&mut begun, !is_last));
                    message.extend_from_slice(payload.bytes());
                    if message.len() as u64 > MESSAGE_BYTES_MAX {
                        return (seen, End::Failed);
                    }
                    if is_last {
                        seen.push(Seen::Message(kind, std::mem::take(&mut message)));
                    }
                }
                Ok(Some(Event::Compressed { .. })) => panic!("compression was not agreed on"),
                Ok(Some(Event::EmptyFragment)) => {}
                Ok(Some(Event::Ping(payload))) => seen.push(Seen::Ping(payload.bytes().to_vec())),
                Ok(Some(Event::Pong(payload))) => seen.push(Seen::Pong(payload.bytes().to_vec())),
                Ok(Some(Event::Close { code, reason })) => {
                    seen.push(Seen::Close(code.map(|code| code.0), reason));
                    return (seen, End::Closed);
                }
                Ok(None) => break,
                Err(_) => return (seen, End::Failed),
            }
        }
        assert!(input.is_empty(), "what is not an event yet must have been taken in");
    }
    (seen, End::Waiting)
}

pub(super) fn run(data: &[u8]) {
    let Some((&first, data)) = data.split_first() else { return };
    let Some((cuts, stream)) = Cuts::take(data) else { return };
    let role = if first & 1 == 0 { Role::Server } else { Role::Client };
    let (expected, end) = oracle(stream, role);
    for chunks in [false, true] {
        let cut = decode(cuts.clone().pieces(stream), role, chunks);
        let whole = decode(std::iter::once(stream), role, chunks);
        for (how, (seen, got)) in [("whole", whole), ("in pieces", cut)] {
            assert_eq!(seen, expected, "{how}, chunks: {chunks}");
            // Within a frame that is still cut the decoder may know more than the oracle: bad text.
            let sooner = end == End::Waiting && got == End::Failed;
            // Too long a message is known by its header, in chunks only by its bytes.
            let later = chunks && end == End::Failed && got == End::Waiting;
            assert!(got == end || sooner || later, "{how}, {chunks}: {got:?}, expected {end:?}");
        }
    }
}
