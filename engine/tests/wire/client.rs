//! The client role: plays a server to one of the engine's clients in memory and looks at what it
//! makes of it; `outbound` does the same over sockets. Nothing here knows about servers under test.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use sha1::{Digest, Sha1};

use crate::answer::{self, Message, Sender};
use crate::compose::{self, Act};
use crate::memory::{self, MemoryLink};
use crate::row::{ExpectedFrame, SplitName, Step};
use crate::split::{self, Plan};
use crate::subject::{Effort, Link, Received};
use crate::verdict;

/// How long a client may take; virtual.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(6);

/// One server and what a client must make of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClientRow {
    /// Unique name of the row.
    pub(crate) id: String,
    /// What the server does and what must come of it, as a sentence.
    pub(crate) name: String,
    /// The sections that say so.
    pub(crate) rfc: String,
    /// Subprotocols the client offers.
    #[serde(default)]
    pub(crate) offer: Vec<String>,
    /// The compression the client offers, as the command line has it; empty for none.
    #[serde(default)]
    pub(crate) deflate: String,
    /// How the bytes are cut into segments; by length when nothing is said.
    #[serde(default)]
    split: Vec<SplitName>,
    /// What the server sends.
    respond: Vec<Step>,
    /// What must come of it.
    expect: ClientExpectation,
}

/// What a client must make of a server.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientExpectation {
    /// The handshake fails: no frame is sent and the application hears why.
    #[serde(default)]
    refused: bool,
    /// The messages the application sees.
    #[serde(default)]
    messages: Vec<ExpectedFrame>,
    /// The frames the client sends, each of them masked.
    #[serde(default)]
    frames: Vec<ExpectedFrame>,
    /// The close code the application sees.
    application: Option<u16>,
}

/// What the application above a client was told.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) messages: Vec<Message>,
    pub(crate) close_code: Option<u16>,
    /// Why it could not connect.
    pub(crate) refusal: Option<String>,
}

impl ClientRow {
    /// All ways of playing the server.
    pub(crate) fn plans(&self, accept: &str, effort: Effort) -> Vec<Plan> {
        let acts = compose::acts(&self.respond, accept)
            .unwrap_or_else(|error| panic!("row {} cannot be sent: {error}", self.id));
        split::plans(&acts, &self.split, effort)
    }

    /// A line for a run that went wrong.
    pub(crate) fn failure(&self, plan: &Plan, wrong: &str) -> String {
        let Self { id, name, rfc, .. } = self;
        format!("{id}: {name} (RFC {rfc}), {}: {wrong}", plan.label)
    }

    /// Whether the client, which has sent this after its request and then ended the connection,
    /// made of the server what it had to.
    pub(crate) fn judge(&self, sent: &[u8], outcome: &Outcome) -> Result<(), String> {
        if self.expect.refused {
            return match &outcome.refusal {
                Some(reason) if !reason.is_empty() && sent.is_empty() => Ok(()),
                reason => Err(format!("refusal {reason:?}, {} bytes sent", sent.len())),
            };
        }
        let frames = answer::messages(sent, Sender::Client, !self.deflate.is_empty())?;
        compare("sent", &self.expect.frames, &frames.complete)?;
        compare("delivered", &self.expect.messages, &outcome.messages)?;
        if self.expect.application.is_some() && self.expect.application != outcome.close_code {
            return Err(format!("the application saw {:?}", outcome.close_code));
        }
        Ok(())
    }
}

/// Runs every row in all its splits; returns how many runs there were and a line for each failure.
pub(crate) fn run(rows: &[ClientRow]) -> (usize, Vec<String>) {
    let mut runs = 0;
    let mut failures = Vec::new();
    for row in rows {
        let (accept, _) = greeted(row);
        for plan in row.plans(&accept, Effort::All) {
            runs += 1;
            if let Err(wrong) = attempt(row, &plan) {
                failures.push(row.failure(&plan, &wrong));
                break;
            }
        }
    }
    (runs, failures)
}

/// A new client whose request was read and found right, and the accept value it waits for.
fn greeted(row: &ClientRow) -> (String, MemoryLink) {
    let mut link = memory::client(&row.offer, &row.deflate);
    let Received::Bytes(request) = link.receive(PATIENCE) else {
        panic!("row {}: the client sent no request", row.id);
    };
    let request = String::from_utf8(request).expect("the client's request is text");
    (accept_for(&request, &row.offer), link)
}

/// Checks a client's request as RFC 6455 section 4.2.1 does and computes the answer to its key.
pub(crate) fn accept_for(request: &str, offer: &[String]) -> String {
    let head = request.strip_suffix("\r\n\r\n").expect("the request is one head");
    let (line, headers) = head.split_once("\r\n").expect("the request has headers");
    assert_eq!(line, "GET /chat HTTP/1.1");
    let value = |name: &str| {
        let mut found = headers.split("\r\n").filter_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        });
        let first = found.next();
        assert_eq!(found.next(), None, "one {name} at most");
        first
    };
    assert_eq!(value("Host"), Some("server.example.com"));
    assert!(value("Upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket")));
    assert!(value("Connection").is_some_and(|value| value.eq_ignore_ascii_case("upgrade")));
    assert_eq!(value("Sec-WebSocket-Version"), Some("13"));
    let offered = (!offer.is_empty()).then(|| offer.join(", "));
    assert_eq!(value("Sec-WebSocket-Protocol"), offered.as_deref());
    let key = value("Sec-WebSocket-Key").expect("a key");
    assert_eq!(STANDARD.decode(key).map(|key| key.len()), Ok(16), "the key {key}");
    let digest = Sha1::digest(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"));
    STANDARD.encode(digest)
}

fn attempt(row: &ClientRow, plan: &Plan) -> Result<(), String> {
    let (_, mut link) = greeted(row);
    for act in &plan.acts {
        match act {
            Act::Send(segment) => link.send(segment),
            Act::FinishSending => link.finish_sending(),
            Act::Reset => link.reset(),
            Act::Wait(_) => return Err("client rows do not wait".to_owned()),
        }
    }
    let mut sent = Vec::new();
    loop {
        match link.receive(PATIENCE) {
            Received::Bytes(bytes) => sent.extend(bytes),
            Received::Ended => break,
            Received::Nothing => return Err("the client has not ended the connection".to_owned()),
        }
    }
    row.judge(&sent, link.seen())
}

fn compare(what: &str, expected: &[ExpectedFrame], found: &[Message]) -> Result<(), String> {
    match verdict::compare_messages(expected, found)? {
        None => Ok(()),
        Some(missing) => Err(format!("{what}: {missing}")),
    }
}

#[test]
fn the_accept_value_is_that_of_the_rfc() {
    // RFC 6455 section 1.3.
    let request = format!(
        "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {}\r\n\r\n",
        compose::KEY
    );
    assert_eq!(accept_for(&request, &[]), compose::ACCEPT);
}
