//! Turns the steps of a row into bytes. Nothing here cuts them into segments or sends them, and
//! nothing here refuses to build what is invalid: that is the point of most rows.

use crate::row::{Frame, Head, Number, Payload, PayloadRule, Step, Wait};

/// The key of the opening handshake in RFC 6455 section 1.3, sent by every valid request.
pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
/// What a server must answer to [`KEY`].
pub(crate) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// What is done to a connection, steps that only add bytes joined.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// These bytes are sent.
    Send(Vec<u8>),
    /// This part of a deadline passes.
    Wait(Wait),
    /// FIN.
    FinishSending,
    /// RST.
    Reset,
}

/// The acts of `steps`. `accept` stands in for `{accept}` in a response.
///
/// # Errors
/// A sentence saying which word of a step means nothing.
pub(crate) fn acts(steps: &[Step], accept: &str) -> Result<Vec<Act>, String> {
    let mut acts = Vec::new();
    append(&mut acts, steps, accept)?;
    Ok(acts)
}

fn append(acts: &mut Vec<Act>, steps: &[Step], accept: &str) -> Result<(), String> {
    for step in steps {
        match step {
            Step::Text(text) => add_bytes(acts, text.as_bytes()),
            Step::Hex(digits) => add_bytes(acts, &hex(digits)?),
            Step::Request(head) => add_bytes(acts, &request(head)),
            Step::Response(head) => add_bytes(acts, &response(head, accept)),
            Step::Frame(described) => add_bytes(acts, &frame(described)?),
            Step::Repeat(repeat) => {
                for _ in 0..repeat.times {
                    append(acts, &repeat.steps, accept)?;
                }
            }
            Step::Wait(wait) => acts.push(Act::Wait(wait.clone())),
            Step::FinishSending => acts.push(Act::FinishSending),
            Step::Reset => acts.push(Act::Reset),
        }
    }
    Ok(())
}

fn add_bytes(acts: &mut Vec<Act>, bytes: &[u8]) {
    if let Some(Act::Send(sent)) = acts.last_mut() {
        sent.extend_from_slice(bytes);
    } else {
        acts.push(Act::Send(bytes.to_vec()));
    }
}

/// The valid opening request, unchanged.
pub(crate) fn plain_request() -> Vec<u8> {
    request(&Head::default())
}

fn request(head: &Head) -> Vec<u8> {
    let letters = |bytes: usize| format!("/{}", generated_letters(bytes.saturating_sub(1)));
    let target =
        head.target_bytes.map(|bytes| letters(bytes.0 as usize)).or_else(|| head.target.clone());
    let line = format!("GET {} HTTP/1.1", target.as_deref().unwrap_or("/chat"));
    let headers = [
        "Host: server.example.com".to_owned(),
        "Upgrade: websocket".to_owned(),
        "Connection: Upgrade".to_owned(),
        format!("Sec-WebSocket-Key: {KEY}"),
        "Sec-WebSocket-Version: 13".to_owned(),
    ];
    changed(head, line, &headers)
}

fn response(head: &Head, accept: &str) -> Vec<u8> {
    let headers = [
        "Upgrade: websocket".to_owned(),
        "Connection: Upgrade".to_owned(),
        format!("Sec-WebSocket-Accept: {accept}"),
    ];
    let line = "HTTP/1.1 101 Switching Protocols".to_owned();
    let text = changed(head, line, &headers);
    String::from_utf8_lossy(&text).replace("{accept}", accept).into_bytes()
}

/// A head with the changes made that `head` asks for.
fn changed(head: &Head, line: String, headers: &[String]) -> Vec<u8> {
    let name = |line: &String| line.split(':').next().unwrap_or_default().to_owned();
    let kept = headers.iter().filter(|line| !head.without.contains(&name(line)));
    let mut lines = vec![head.line.clone().unwrap_or(line)];
    lines.extend(head.first.iter().cloned());
    lines.extend(kept.cloned());
    lines.extend(head.add.iter().cloned());
    for number in lines.len().. {
        if number > head.lines_total.unwrap_or_default().0 as usize {
            break;
        }
        lines.push(format!("X-{number}: {number}"));
    }
    let end = head.line_end.as_deref().unwrap_or("\r\n");
    if let Some(bytes_total) = head.bytes_total {
        let bytes_now: usize = lines.iter().map(|line| line.len() + end.len()).sum();
        let bytes_fixed = bytes_now + "X-Padding: ".len() + 2 * end.len();
        lines.push(format!(
            "X-Padding: {}",
            generated_letters((bytes_total.0 as usize).saturating_sub(bytes_fixed))
        ));
    }
    lines.push(String::new());
    lines.iter().flat_map(|line| [line.as_str(), end]).collect::<String>().into_bytes()
}

/// The bytes of a payload.
///
/// # Errors
/// When hexadecimal digits are none.
pub(crate) fn payload(payload: &Payload) -> Result<Vec<u8>, String> {
    Ok(match payload {
        Payload::Text(text) => text.clone().into_bytes(),
        Payload::Rule(PayloadRule::Hex(digits)) => hex(digits)?,
        Payload::Rule(PayloadRule::Letters(bytes)) => {
            generated_letters(bytes.0 as usize).into_bytes()
        }
        Payload::Rule(PayloadRule::Octets(bytes)) => {
            (0..=250).cycle().take(bytes.0 as usize).collect()
        }
        Payload::Rule(PayloadRule::Repeated(text, times)) => text.repeat(*times).into_bytes(),
        Payload::Rule(PayloadRule::Deflated(plain)) => deflated(&self::payload(plain)?),
        Payload::Rule(PayloadRule::RepeatedHex(digits, times)) => hex(digits)?.repeat(*times),
        Payload::Rule(PayloadRule::Bomb(mib)) => bomb(mib.0 as usize),
    })
}

/// RFC 7692 section 7.2.1: compressed, flushed, and without the flush's last four bytes.
fn deflated(plain: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; plain.len() + plain.len() / 8 + 64];
    let mut stream = zlib_rs::Deflate::new(6, false, 15);
    let done = stream.compress(plain, &mut bytes, zlib_rs::DeflateFlush::SyncFlush);
    assert_eq!(done, Ok(zlib_rs::Status::Ok), "there is room");
    bytes.truncate(stream.total_out() as usize - 4);
    bytes
}

/// Zeros in compressed form. What ends with a flush may be put behind itself, so a part will do.
fn bomb(mib: usize) -> Vec<u8> {
    const PART_MIB: usize = 16;
    let mut part = deflated(&vec![0; PART_MIB << 20]);
    part.extend([0, 0, 0xff, 0xff]);
    let mut whole = part.repeat(mib / PART_MIB);
    whole.truncate(whole.len() - 4);
    whole
}

fn generated_letters(bytes: usize) -> String {
    ('a'..='w').cycle().take(bytes).collect()
}

/// The bytes of a frame, RFC 6455 section 5.2.
fn frame(frame: &Frame) -> Result<Vec<u8>, String> {
    let mut content = match frame.code {
        None => Vec::new(),
        Some(code) => match u16::try_from(code.0) {
            Ok(code) => code.to_be_bytes().to_vec(),
            Err(_) => return Err(format!("a close code has 16 bits, not {}", code.0)),
        },
    };
    content.extend(payload(&frame.payload)?);
    let key = match frame.mask.as_deref() {
        None => vec![0x37, 0xfa, 0x21, 0x3d],
        Some("none") => Vec::new(),
        Some(digits) => hex(digits)?,
    };
    let length = frame.claimed.map_or(content.len() as u64, |number| number.0);
    let reserved = (frame.rsv.0 as u8) << 4;
    let mut bytes = vec![u8::from(frame.fin) << 7 | reserved | opcode_number(&frame.opcode)?];
    let masked = if key.is_empty() { 0 } else { 0x80 };
    let shortest = match length {
        0..=125 => 7,
        126..=65_535 => 16,
        _ => 64,
    };
    match frame.length_bits.map_or(shortest, |bits| bits.0) {
        7 => bytes.push(masked | length as u8),
        16 => {
            bytes.push(masked | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        64 => {
            bytes.push(masked | 127);
            bytes.extend(length.to_be_bytes());
        }
        bits => return Err(format!("no length field has {bits} bits")),
    }
    bytes.extend(&key);
    let masked = content.iter().enumerate().map(|(at, byte)| match key.get(at % 4) {
        Some(mask) => byte ^ mask,
        None => *byte,
    });
    bytes.extend(masked);
    Ok(bytes)
}

/// The number of an opcode, RFC 6455 section 11.8.
fn opcode_number(name: &str) -> Result<u8, String> {
    Ok(match name {
        "continuation" => 0,
        "text" => 1,
        "binary" => 2,
        "close" => 8,
        "ping" => 9,
        "pong" => 10,
        number => match number.parse() {
            Ok(number) if number < 16 => number,
            _ => return Err(format!("{number:?} is no opcode")),
        },
    })
}

/// The bytes that hexadecimal digits stand for.
fn hex(digits: &str) -> Result<Vec<u8>, String> {
    let packed: Vec<u8> = digits.bytes().filter(|digit| !digit.is_ascii_whitespace()).collect();
    let value = |digit: u8| (digit as char).to_digit(16).map(|value| value as u8);
    packed
        .chunks(2)
        .map(|pair| match *pair {
            [high, low] => Some(value(high)? << 4 | value(low)?),
            _ => None,
        })
        .collect::<Option<_>>()
        .ok_or_else(|| format!("{digits:?} is not hexadecimal"))
}

/// A masked frame, as a client sends it.
pub(crate) fn masked_frame(opcode: u8, content: &[u8]) -> Vec<u8> {
    let key = [0x0b, 0xad, 0xca, 0xfe];
    let mut bytes = vec![0x80 | opcode, 0x80 | content.len() as u8];
    bytes.extend(key);
    bytes.extend(content.iter().zip(key.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

#[test]
fn examples_of_the_rfc_are_composed_byte_for_byte() {
    let described = |text: &str| toml::from_str::<Frame>(text).unwrap();
    let bytes = |text: &str| frame(&described(text)).unwrap();
    // RFC 6455 section 5.7.
    let unmasked = bytes("opcode = 'text'\nmask = 'none'\npayload = 'Hello'");
    assert_eq!(unmasked, hex("81 05 48 65 6c 6c 6f").unwrap());
    let masked = bytes("opcode = 'text'\nmask = '37fa213d'\npayload = 'Hello'");
    assert_eq!(masked, hex("81 85 37 fa 21 3d 7f 9f 4d 51 58").unwrap());
    let first = bytes("opcode = 'text'\nfin = false\nmask = 'none'\npayload = 'Hel'");
    assert_eq!(first, hex("01 03 48 65 6c").unwrap());
    let long = bytes("opcode = 'binary'\nmask = 'none'\npayload = { octets = 256 }");
    assert_eq!(long[..4], hex("82 7e 01 00").unwrap());
    let longer = bytes("opcode = 'binary'\nmask = 'none'\npayload = { octets = 65536 }");
    assert_eq!(longer[..10], hex("82 7f 00 00 00 00 00 01 00 00").unwrap());
}

#[test]
fn a_compressed_payload_is_that_of_the_rfc() {
    // RFC 7692 section 7.2.3.1.
    let hello = Payload::Rule(PayloadRule::Deflated(Box::new(Payload::Text("Hello".to_owned()))));
    assert_eq!(payload(&hello), hex("f2 48 cd c9 c9 07 00"));
}

#[test]
fn a_bomb_of_a_mebibyte_restores_to_a_gibibyte() {
    let bomb = payload(&Payload::Rule(PayloadRule::Bomb(Number(1024)))).unwrap();
    assert!(bomb.len().abs_diff(1 << 20) < 1 << 16, "{} bytes", bomb.len());
    let mut stream = zlib_rs::Inflate::new(false, 15);
    let (mut rest, mut room) = (&bomb[..], vec![1; 1 << 20]);
    while !rest.is_empty() {
        let used = stream.total_in();
        stream.decompress(rest, &mut room, zlib_rs::InflateFlush::SyncFlush).unwrap();
        rest = &rest[(stream.total_in() - used) as usize..];
    }
    assert!(stream.total_out() > (1 << 30) - (1 << 20), "{} bytes", stream.total_out());
    assert!(room.iter().all(|byte| *byte == 0));
}

#[test]
fn a_head_has_the_size_and_lines_asked_for() {
    let head = Head { bytes_total: Some(Number(16_384)), ..Head::default() };
    assert_eq!(request(&head).len(), 16_384);
    let head = Head { lines_total: Some(Number(100)), ..Head::default() };
    let text = String::from_utf8(request(&head)).unwrap();
    assert_eq!(text.lines().filter(|line| line.contains(':')).count(), 100);
    let head = Head { target_bytes: Some(Number(8_192)), ..Head::default() };
    let text = String::from_utf8(request(&head)).unwrap();
    assert_eq!(text.split(' ').nth(1).map(str::len), Some(8_192));
}
