//! Reads what a server sent, plainly and slowly: the oracle. Nothing here is shared with the
//! engine, and nothing here knows what was expected.

use ringsock::protocol::MessageKind;

/// An HTTP response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    /// The status code.
    pub(crate) status: u16,
    /// Names in lower case, and values, in order.
    pub(crate) headers: Vec<(String, String)>,
    /// The length of the head, blank line included.
    pub(crate) head_bytes: usize,
}

impl Response {
    /// The values of a header, by its name in lower case.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(move |header| header.0 == name).map(|header| header.1.as_str())
    }

    /// Whether a header that is a list of tokens holds `token`, in any case.
    pub(crate) fn has_token(&self, name: &str, token: &str) -> bool {
        let mut tokens = self.values(name).flat_map(|value| value.split(','));
        tokens.any(|listed| listed.trim().eq_ignore_ascii_case(token))
    }
}

/// The response that `bytes` begin with, or `None` while its head is incomplete.
///
/// # Errors
/// A sentence saying what about the head is not HTTP/1.1.
pub(crate) fn response(bytes: &[u8]) -> Result<Option<Response>, String> {
    let start = b"HTTP/1.1 ";
    if !bytes.iter().zip(start).all(|(byte, expected)| byte == expected) {
        return Err("the answer is no HTTP/1.1 response".to_owned());
    }
    let Some(blank) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..blank]).map_err(|error| error.to_string())?;
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or_default();
    let status = line.split(' ').nth(1).unwrap_or_default();
    let three_digits = status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit());
    let status = match status.parse() {
        Ok(status) if three_digits => status,
        _ => return Err(format!("{line:?} has no status code")),
    };
    let mut headers = Vec::new();
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            return Err(format!("{line:?} is no header"));
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    Ok(Some(Response { status, headers, head_bytes: blank + 4 }))
}

/// A whole message, or a control frame, as received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// Text, valid UTF-8.
    Text(Vec<u8>),
    /// Binary.
    Binary(Vec<u8>),
    /// A Ping.
    Ping(Vec<u8>),
    /// A Pong.
    Pong(Vec<u8>),
    /// A Close with its code, if it has one.
    Close(Option<u16>),
}

impl Message {
    /// A whole message.
    pub(crate) fn new(kind: MessageKind, content: Vec<u8>) -> Self {
        match kind {
            MessageKind::Text => Self::Text(content),
            MessageKind::Binary => Self::Binary(content),
        }
    }
}

/// Who sent the frames that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// A server: its frames are not masked.
    Server,
    /// A client: its frames are masked.
    Client,
}

/// The messages of a stream of frames.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Messages {
    /// Complete messages and control frames, each where it ended.
    pub(crate) complete: Vec<Message>,
    /// Whether more bytes are needed to complete what has begun.
    pub(crate) unfinished: bool,
}

/// Reads a stream of frames from its beginning. With `deflate` messages may be compressed (RFC
/// 7692), without context takeover.
///
/// # Errors
/// A sentence saying which rule of RFC 6455 section 5 the sender broke.
pub(crate) fn messages(
    mut bytes: &[u8],
    sender: Sender,
    deflate: bool,
) -> Result<Messages, String> {
    let mut complete = Vec::new();
    let mut begun: Option<(u8, Vec<u8>)> = None;
    let mut compressed = false;
    while let Some(frame) = frame(bytes, sender)? {
        if matches!(complete.last(), Some(Message::Close(_))) {
            return Err("a frame after the Close".to_owned());
        }
        bytes = &bytes[frame.bytes..];
        if frame.compressed && !(deflate && matches!(frame.opcode, 1 | 2)) {
            return Err(format!("the first reserved bit on a frame of opcode {}", frame.opcode));
        }
        if matches!(frame.opcode, 1 | 2) {
            compressed = frame.compressed;
        }
        match (frame.opcode, begun.take()) {
            (0, None) => return Err("a continuation of nothing".to_owned()),
            (1 | 2, Some(_)) => return Err("a message inside a message".to_owned()),
            (0, Some((opcode, mut content))) => {
                content.extend(frame.payload);
                begun = Some((opcode, content));
            }
            (1 | 2, None) => begun = Some((frame.opcode, frame.payload)),
            (_, unfinished) => {
                complete.push(control(frame)?);
                begun = unfinished;
                continue;
            }
        }
        if frame.fin
            && let Some((opcode, content)) = begun.take()
        {
            let content = if compressed { inflated(&content)? } else { content };
            complete.push(data(opcode, content)?);
        }
    }
    Ok(Messages { complete, unfinished: begun.is_some() || !bytes.is_empty() })
}

/// RFC 7692 section 7.2.2.
fn inflated(content: &[u8]) -> Result<Vec<u8>, String> {
    let input = [content, &[0, 0, 0xff, 0xff]].concat();
    let mut output = vec![0; 4 << 20];
    let mut stream = zlib_rs::Inflate::new(false, 15);
    let status = stream.decompress(&input, &mut output, zlib_rs::InflateFlush::SyncFlush);
    if status != Ok(zlib_rs::Status::Ok) || stream.total_in() != input.len() as u64 {
        return Err(format!("compressed data that ends with {status:?}"));
    }
    output.truncate(stream.total_out() as usize);
    Ok(output)
}

fn data(opcode: u8, content: Vec<u8>) -> Result<Message, String> {
    if opcode == 2 {
        return Ok(Message::Binary(content));
    }
    match std::str::from_utf8(&content) {
        Ok(_) => Ok(Message::Text(content)),
        Err(error) => Err(format!("a text message that is not UTF-8: {error}")),
    }
}

fn control(frame: Frame) -> Result<Message, String> {
    if !frame.fin || frame.payload.len() > 125 {
        return Err(format!("a control frame that is too long or in pieces: {frame:?}"));
    }
    match (frame.opcode, frame.payload.as_slice()) {
        (9, _) => Ok(Message::Ping(frame.payload)),
        (10, _) => Ok(Message::Pong(frame.payload)),
        (_, []) => Ok(Message::Close(None)),
        (_, [_]) => Err("a Close with half a code".to_owned()),
        (_, [high, low, reason @ ..]) => {
            let code = u16::from_be_bytes([*high, *low]);
            // RFC 6455 section 7.4.1: these three say that there was no Close frame.
            if matches!(code, 1005 | 1006 | 1015) {
                return Err(format!("close code {code} on the wire"));
            }
            match std::str::from_utf8(reason) {
                Ok(_) => Ok(Message::Close(Some(code))),
                Err(error) => Err(format!("a close reason that is not UTF-8: {error}")),
            }
        }
    }
}

#[derive(Debug)]
struct Frame {
    fin: bool,
    opcode: u8,
    /// RSV1.
    compressed: bool,
    payload: Vec<u8>,
    /// Header and payload together.
    bytes: usize,
}

/// The frame that `bytes` begin with, RFC 6455 section 5.2, or `None` while it is incomplete.
fn frame(bytes: &[u8], sender: Sender) -> Result<Option<Frame>, String> {
    let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
    let opcode = first & 0x0f;
    if first & 0x30 != 0 {
        return Err(format!("reserved bits in the first byte {first:#04x}"));
    }
    if !matches!(opcode, 0..=2 | 8..=10) {
        return Err(format!("reserved opcode {opcode}"));
    }
    if (second & 0x80 != 0) != (sender == Sender::Client) {
        return Err(format!("a frame of a {sender:?} with the second byte {second:#04x}"));
    }
    let (length_bytes, least) = match second & 0x7f {
        126 => (2, 126),
        127 => (8, 65_536),
        _ => (0, 0),
    };
    let key_bytes = if sender == Sender::Client { 4 } else { 0 };
    if rest.len() < length_bytes + key_bytes {
        return Ok(None);
    }
    let extended = rest[..length_bytes].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let length = if length_bytes == 0 { u64::from(second & 0x7f) } else { extended };
    if length < least || length >= 1 << 40 {
        return Err(format!("length {length} in {length_bytes} extra bytes"));
    }
    let (key, rest) = rest[length_bytes..].split_at(key_bytes);
    let Some(payload) = rest.get(..length as usize) else { return Ok(None) };
    let unmasked = payload.iter().enumerate().map(|(at, byte)| match key {
        [] => *byte,
        key => byte ^ key[at % 4],
    });
    Ok(Some(Frame {
        fin: first & 0x80 != 0,
        opcode,
        compressed: first & 0x40 != 0,
        payload: unmasked.collect(),
        bytes: 2 + length_bytes + key_bytes + payload.len(),
    }))
}

#[test]
fn examples_of_the_rfc_are_read_as_it_says() {
    let read = |bytes: &[u8], sender| messages(bytes, sender, false).unwrap().complete;
    let hello = b"\x81\x05Hello";
    assert_eq!(read(hello, Sender::Server), [Message::Text(b"Hello".to_vec())]);
    let masked = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    assert_eq!(read(masked, Sender::Client), [Message::Text(b"Hello".to_vec())]);
    let fragments = b"\x01\x03Hel\x89\x05Hello\x80\x02lo";
    let expected = [Message::Ping(b"Hello".to_vec()), Message::Text(b"Hello".to_vec())];
    assert_eq!(read(fragments, Sender::Server), expected);
    // RFC 7692 section 7.2.3.1.
    let compressed = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00";
    let restored = messages(compressed, Sender::Server, true).unwrap().complete;
    assert_eq!(restored, [Message::Text(b"Hello".to_vec())]);
    assert!(messages(&hello[..3], Sender::Server, false).unwrap().unfinished);
}

#[test]
fn answers_that_break_a_rule_are_not_accepted() {
    let wrong: [&[u8]; 9] = [
        b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
        b"\xc1\x05Hello",
        b"\x83\x05Hello",
        b"\x80\x05Hello",
        b"\x81\x7e\x00\x05Hello",
        b"\x09\x00",
        b"\x88\x01\x03",
        b"\x88\x02\x03\xee",
        b"\x88\x02\x03\xe8\x81\x05Hello",
    ];
    for bytes in wrong {
        assert!(messages(bytes, Sender::Server, false).is_err(), "{bytes:02x?} was accepted");
    }
    assert!(response(b"HTTP/1.0 200 OK\r\n\r\n").is_err());
    assert!(response(b"HTTP/1.1 20 OK\r\n\r\n").is_err());
    assert_eq!(response(b"HTTP/1.1 200 OK\r\n"), Ok(None));
}
