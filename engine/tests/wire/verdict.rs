//! Compares what a server sent with what a row accepts. Nothing here waits: while an answer is
//! only incomplete the judgement is "not yet", and the caller decides for how long.

use crate::answer::{self, Message, Response, Sender};
use crate::compose::{self, ACCEPT};
use crate::row::{End, Expectation, ExpectedFrame};

/// What has arrived on one connection.
#[derive(Default)]
pub(crate) struct Arrived {
    /// Everything the server sent, the opening handshake apart when the row begins after it.
    pub(crate) bytes: Vec<u8>,
    /// Whether the server has ended the connection.
    pub(crate) ended: bool,
}

/// Whether an answer is as expected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// It is, so far: nothing is missing and nothing too much.
    Met,
    /// It is right as far as it goes; this is missing.
    NotYet(String),
    /// It cannot become right any more; this is wrong.
    Broken(String),
}

/// Judges an answer; `opened` says that the opening handshake is not part of it.
pub(crate) fn judge(expectation: &Expectation, opened: bool, arrived: &Arrived) -> Judgement {
    match compare(expectation, opened, arrived) {
        Ok(None) => Judgement::Met,
        Ok(Some(missing)) if arrived.ended => {
            Judgement::Broken(format!("{missing}, and the connection has ended"))
        }
        Ok(Some(missing)) => Judgement::NotYet(missing),
        Err(wrong) => Judgement::Broken(wrong),
    }
}

/// How a connection must end up that was answered in this way.
pub(crate) fn end(expectation: &Expectation, opened: bool) -> End {
    let upgraded = opened || accepts_status(expectation, 101);
    let closing = |frame: &ExpectedFrame| {
        matches!(frame, ExpectedFrame::Close(_) | ExpectedFrame::CloseEmpty)
    };
    let closed = !upgraded || expectation.frames.last().is_some_and(closing);
    expectation.then.unwrap_or(if closed { End::Closed } else { End::Open })
}

fn accepts_status(expectation: &Expectation, status: u16) -> bool {
    expectation.status.as_ref().is_some_and(|accepted| accepted.as_slice().contains(&status))
}

/// What is missing, if anything, or what is wrong.
fn compare(
    expectation: &Expectation,
    opened: bool,
    arrived: &Arrived,
) -> Result<Option<String>, String> {
    let mut rest = arrived.bytes.as_slice();
    let mut upgraded = opened;
    if expectation.status.is_some() {
        let Some(response) = answer::response(rest)? else {
            return Ok(Some("no whole response".to_owned()));
        };
        compare_response(expectation, &response)?;
        rest = &rest[response.head_bytes..];
        upgraded = response.status == 101;
        if !upgraded && let Some(missing) = compare_body(expectation, &response, rest)? {
            return Ok(Some(missing));
        }
    }
    if upgraded && let Some(missing) = compare_frames(expectation, rest)? {
        return Ok(Some(missing));
    }
    if let Some(alerts) = &expectation.alert {
        if let Some(missing) = compare_alert(alerts.as_slice(), rest)? {
            return Ok(Some(missing));
        }
        rest = &[];
    }
    if !opened && expectation.status.is_none() && !rest.is_empty() {
        return Err("there is an answer where the connection must be dropped silently".to_owned());
    }
    match (end(expectation, opened), arrived.ended) {
        (End::Closed | End::Gone, false) => {
            Ok(Some("the server has not ended the connection".to_owned()))
        }
        (End::Open, true) => Err("the server has ended the connection".to_owned()),
        _ => Ok(None),
    }
}

/// Looks for one of these alerts at the end of records without protection.
fn compare_alert(alerts: &[u8], mut records: &[u8]) -> Result<Option<String>, String> {
    let mut last = None;
    while let [kind, 3, _, high, low, rest @ ..] = records {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some((body, rest)) = rest.split_at_checked(length) else { break };
        last = (*kind == 21).then_some(body);
        records = rest;
    }
    match last {
        None => Ok(Some("no alert".to_owned())),
        Some(_) if !records.is_empty() => Err("something behind the alert".to_owned()),
        Some([2, alert]) if alerts.contains(alert) => Ok(None),
        Some(other) => Err(format!("the alert {other:?}")),
    }
}

fn compare_response(expectation: &Expectation, response: &Response) -> Result<(), String> {
    if !accepts_status(expectation, response.status) {
        return Err(format!("status {}", response.status));
    }
    for line in &expectation.headers {
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        let name = name.to_ascii_lowercase();
        if !response.values(&name).any(|found| found.eq_ignore_ascii_case(value)) {
            return Err(format!("no header {line:?}"));
        }
    }
    for name in &expectation.absent {
        if response.values(&name.to_ascii_lowercase()).next().is_some() {
            return Err(format!("a header {name}"));
        }
    }
    if response.status == 101 {
        compare_upgrade(expectation, response)
    } else if response.has_token("connection", "close") {
        Ok(())
    } else {
        Err("no \"Connection: close\" in a refusal".to_owned())
    }
}

/// What RFC 6455 section 4.2.2 demands of every acceptance.
fn compare_upgrade(expectation: &Expectation, response: &Response) -> Result<(), String> {
    if !response.has_token("upgrade", "websocket") || !response.has_token("connection", "upgrade") {
        return Err("a 101 that does not upgrade to WebSocket".to_owned());
    }
    if !response.values("sec-websocket-accept").eq([ACCEPT]) {
        return Err("a 101 without the one right Sec-WebSocket-Accept".to_owned());
    }
    let asked = |name: &str| {
        expectation.headers.iter().any(|line| line.to_ascii_lowercase().starts_with(name))
    };
    let unasked = [
        "sec-websocket-protocol",
        "sec-websocket-extensions",
        "content-length",
        "transfer-encoding",
    ];
    for name in unasked {
        if !asked(name) && response.values(name).next().is_some() {
            return Err(format!("a 101 with an unexpected {name}"));
        }
    }
    Ok(())
}

/// Checks that a refusal is one whole response and nothing after it.
fn compare_body(
    expectation: &Expectation,
    response: &Response,
    rest: &[u8],
) -> Result<Option<String>, String> {
    let lengths: Vec<_> = response.values("content-length").collect();
    let announced = match lengths.as_slice() {
        [] if rest.is_empty() => 0,
        [length] => length.parse().map_err(|_| format!("Content-Length: {length}"))?,
        _ => return Err(format!("{} bytes of body, Content-Length {lengths:?}", rest.len())),
    };
    let body = if expectation.bodyless { 0 } else { announced };
    if rest.len() > body {
        return Err(format!("{} bytes after the one response", rest.len() - body));
    }
    Ok((rest.len() < body).then(|| "a part of the body".to_owned()))
}

fn compare_frames(expectation: &Expectation, bytes: &[u8]) -> Result<Option<String>, String> {
    let extension = "sec-websocket-extensions: permessage-deflate";
    let deflate =
        expectation.headers.iter().any(|line| line.to_ascii_lowercase().starts_with(extension));
    let received = answer::messages(bytes, Sender::Server, deflate)?;
    let missing = compare_messages(&expectation.frames, &received.complete)?;
    let unfinished = received.unfinished.then(|| "a part of a frame or message".to_owned());
    Ok(missing.or(unfinished))
}

/// What is missing of the expected messages, if anything.
///
/// # Errors
/// A sentence saying which message is wrong or too much.
pub(crate) fn compare_messages(
    expected: &[ExpectedFrame],
    received: &[Message],
) -> Result<Option<String>, String> {
    // A peer may ask whether the other is alive whenever it likes.
    let asked = |message: &&Message| !matches!(message, Message::Ping(_));
    let mut messages = received.iter().filter(asked).peekable();
    let expected = unrolled(expected);
    for (at, frame) in expected.iter().copied().enumerate() {
        if matches!(frame, ExpectedFrame::AnyPongs) {
            let next = expected.get(at + 1);
            let skipped = |message: &&&Message| -> bool {
                let belongs = next.is_some_and(|next| fits(next, message).unwrap_or(false));
                matches!(message, Message::Pong(_)) && !belongs
            };
            while messages.next_if(|message| skipped(&message)).is_some() {}
            continue;
        }
        match messages.next() {
            None => return Ok(Some(format!("no {}", described(frame)))),
            Some(message) if fits(frame, message)? => {}
            Some(message) => {
                let (found, expected) = (described_message(message), described(frame));
                return Err(format!("{found} where {expected} belongs"));
            }
        }
    }
    match messages.next() {
        Some(message) => Err(format!("{} too much", described_message(message))),
        None => Ok(None),
    }
}

/// Every frame on its own.
fn unrolled(frames: &[ExpectedFrame]) -> Vec<&ExpectedFrame> {
    let mut all = Vec::new();
    for frame in frames {
        match frame {
            ExpectedFrame::Repeat(repeat) => {
                let once = unrolled(&repeat.frames);
                all.extend((0..repeat.times).flat_map(|_| once.iter().copied()));
            }
            _ => all.push(frame),
        }
    }
    all
}

fn fits(frame: &ExpectedFrame, message: &Message) -> Result<bool, String> {
    Ok(match (frame, message) {
        (ExpectedFrame::Text(payload), Message::Text(content))
        | (ExpectedFrame::Binary(payload), Message::Binary(content))
        | (ExpectedFrame::Pong(payload), Message::Pong(content)) => {
            compose::payload(payload)? == *content
        }
        (ExpectedFrame::Close(codes), Message::Close(Some(code))) => {
            codes.as_slice().iter().any(|accepted| accepted.0 == u64::from(*code))
        }
        (ExpectedFrame::CloseEmpty, Message::Close(None)) => true,
        _ => false,
    })
}

/// An expectation in a few words.
pub(crate) fn described_expectation(expectation: &Expectation, opened: bool) -> String {
    let mut parts = Vec::new();
    if let Some(status) = &expectation.status {
        parts.push(format!("status {:?}", status.as_slice()));
    }
    parts.extend(expectation.headers.iter().cloned());
    parts.extend(expectation.frames.iter().map(described));
    parts.push(match end(expectation, opened) {
        End::Closed => "then closed".to_owned(),
        End::Gone => "then gone".to_owned(),
        End::Open => "then open".to_owned(),
    });
    if let Some(code) = expectation.application {
        parts.push(format!("application sees {code}"));
    }
    parts.join(", ")
}

fn described(frame: &ExpectedFrame) -> String {
    let content = |payload| compose::payload(payload).unwrap_or_default();
    match frame {
        ExpectedFrame::Text(payload) => described_content("text", &content(payload)),
        ExpectedFrame::Binary(payload) => described_content("binary", &content(payload)),
        ExpectedFrame::Pong(payload) => described_content("pong", &content(payload)),
        ExpectedFrame::AnyPongs => "any pongs".to_owned(),
        ExpectedFrame::Close(codes) => {
            let codes: Vec<_> = codes.as_slice().iter().map(|code| code.0.to_string()).collect();
            format!("close {}", codes.join(" or "))
        }
        ExpectedFrame::CloseEmpty => "close without code".to_owned(),
        ExpectedFrame::Repeat(repeat) => {
            let once: Vec<_> = repeat.frames.iter().map(described).collect();
            format!("{} times ({})", repeat.times, once.join(", "))
        }
    }
}

fn described_message(message: &Message) -> String {
    match message {
        Message::Text(content) => described_content("text", content),
        Message::Binary(content) => described_content("binary", content),
        Message::Ping(content) => described_content("ping", content),
        Message::Pong(content) => described_content("pong", content),
        Message::Close(Some(code)) => format!("close {code}"),
        Message::Close(None) => "close without code".to_owned(),
    }
}

fn described_content(kind: &str, content: &[u8]) -> String {
    if content.len() > 40 {
        return format!("{kind} of {} bytes", content.len());
    }
    format!("{kind} \"{}\"", content.escape_ascii())
}

#[test]
fn answers_with_something_wrong_or_too_much_are_told_from_right_ones() {
    let expected = |text: &str| toml::from_str::<Expectation>(text).expect("an expectation");
    let judged = |text: &str, bytes: &[u8], ended| {
        judge(&expected(text), false, &Arrived { bytes: bytes.to_vec(), ended })
    };
    let refusal = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno";
    let upgrade = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
    );
    let with = |frames: &[u8]| [upgrade.as_bytes(), frames].concat();
    let closing = "status = 101\nframes = [{ text = 'Hi' }, { close = 1002 }]";
    let met = [
        judged("status = [400, 426]", refusal.as_bytes(), true),
        judged("status = 101", upgrade.as_bytes(), false),
        judged(closing, &with(b"\x81\x02Hi\x88\x02\x03\xea"), true),
        judged("", b"", true),
    ];
    assert!(met.iter().all(|judgement| *judgement == Judgement::Met), "{met:?}");
    let wrong = [
        judged("status = 431", refusal.as_bytes(), true),
        judged("status = 400", &[refusal, refusal].concat().into_bytes(), true),
        judged("status = 400", &refusal.as_bytes()[..refusal.len() - 1], true),
        judged("status = 400", refusal.replace("Connection: close\r\n", "").as_bytes(), true),
        judged("status = 400\nheaders = ['Allow: GET']", refusal.as_bytes(), true),
        judged("status = 400\nabsent = ['Content-Length']", refusal.as_bytes(), true),
        judged("status = 400\nbodyless = true", refusal.as_bytes(), true),
        judged("", refusal.as_bytes(), true),
        judged("status = 101", upgrade.as_bytes(), true),
        judged("status = 101", upgrade.replace("s3pP", "S3pP").as_bytes(), false),
        judged(
            "status = 101",
            upgrade.replace("\r\n\r\n", "\r\nSec-WebSocket-Protocol: a\r\n\r\n").as_bytes(),
            false,
        ),
        judged("status = 101", &with(b"\x81\x02Hi"), false),
        judged(closing, &with(b"\x82\x02Hi\x88\x02\x03\xea"), true),
        judged(closing, &with(b"\x81\x02Ho\x88\x02\x03\xea"), true),
        judged(closing, &with(b"\x81\x02Hi\x88\x02\x03\xe8"), true),
        judged(closing, &with(b"\x81\x02Hi\x88\x02\x03\xea\x81\x00"), true),
        judged(closing, &with(b"\x81\x02Hi"), true),
    ];
    let broken = |judgement: &Judgement| matches!(judgement, Judgement::Broken(_));
    assert!(wrong.iter().all(broken), "{wrong:?}");
    let unfinished = judged(closing, &with(b"\x81\x02Hi\x88\x02\x03\xea"), false);
    assert!(matches!(unfinished, Judgement::NotYet(_)), "{unfinished:?}");
}
