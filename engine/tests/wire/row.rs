//! The notation of the tables: what one row may say. Nothing here knows what the words mean on the
//! wire (`compose`) or how an answer is judged (`verdict`).
//!
//! A file is a list of `[[row]]`, or of `[[elsewhere]]` for inputs that are tested elsewhere:
//!
//! ```toml
//! [[row]]
//! id = "B42"
//! name = "a frame with the reserved opcode $each is refused"
//! rfc = "6455 §5.2"
//! each = ["3", "11"]                          # one row for each value, put where "$each" stands
//! send = [{ frame = { opcode = "$each", payload = "Hello" } }]
//! expect = { frames = [{ close = 1002 }] }
//! ```
//!
//! - `send` is a list of steps: `text`, `hex`, `request` (a valid opening handshake with changes),
//!   `frame` (masked unless it says otherwise), `repeat`, `wait`, and the bare words
//!   `"finish-sending"` and `"reset"`.
//! - `expect` is one answer or a list of acceptable ones. `frames` are whole messages and control
//!   frames, in order; no others may come. `{}` is a connection that is dropped without a word.
//! - Payloads are `"text"`, `{ hex = ".." }`, `{ letters = N }`, `{ octets = N }`,
//!   `{ repeated = ["text", N] }` or `{ deflated = PAYLOAD }`. Numbers may be strings, so that `$each` can stand for them.
//! - `opened = true` at the top of a file says that its rows begin after the opening handshake.

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _};

/// An input whose test needs more than an echo server, and where it is tested.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Elsewhere {
    /// The input's id.
    pub(crate) id: String,
    /// What its test needs.
    pub(crate) needs: String,
    /// The tests, each with its module.
    pub(crate) test: OneOrMany<String>,
}

/// One input and the answer it must get.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    /// Unique name of the row, `B12` or `B12a`.
    pub(crate) id: String,
    /// What is sent and what must come of it, as a sentence.
    pub(crate) name: String,
    /// The sections that say so.
    pub(crate) rfc: String,
    /// Whether the row begins after a successful opening handshake.
    #[serde(default)]
    pub(crate) opened: bool,
    /// The row waits for a deadline: virtual time in memory, shortened deadlines over sockets.
    #[serde(default)]
    pub(crate) slow: bool,
    /// How the bytes are cut into segments; by length when nothing is said.
    #[serde(default)]
    pub(crate) split: Vec<SplitName>,
    /// What is sent.
    pub(crate) send: Vec<Step>,
    /// The acceptable answers.
    pub(crate) expect: OneOrMany<Expectation>,
}

/// One value or a list of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMany<T> {
    /// A single value, written without brackets.
    One(T),
    /// A list.
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    /// The values as a slice.
    pub(crate) fn as_slice(&self) -> &[T] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

/// Ways to cut what is sent into segments.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SplitName {
    /// Everything between two waits in one segment.
    Whole,
    /// One byte a segment.
    Bytewise,
    /// Two segments, cut at each possible place in turn.
    EveryCut,
    /// Segments of 61 bytes, a length that divides nothing around it.
    Chunks,
    /// Each proper prefix in turn, then the end of the stream: the rest is never sent.
    Prefixes,
}

/// One thing done to the connection.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Step {
    /// Bytes as text.
    Text(String),
    /// Bytes as hexadecimal digits, spaces ignored.
    Hex(String),
    /// An opening handshake of a client.
    Request(Head),
    /// An opening handshake of a server (client tables only).
    Response(Head),
    /// A frame.
    Frame(Frame),
    /// The same steps many times.
    Repeat(Repeat),
    /// Time passes.
    Wait(Wait),
    /// The sender's half of the stream ends (FIN).
    FinishSending,
    /// The connection is torn down (RST).
    Reset,
}

/// Changes to a valid head. Without any it is the handshake of RFC 6455 section 1.3.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Head {
    /// The whole first line.
    pub(crate) line: Option<String>,
    /// The request target alone.
    pub(crate) target: Option<String>,
    /// A request target filled up with letters to this many bytes.
    pub(crate) target_bytes: Option<Number>,
    /// Names of headers left out.
    pub(crate) without: Vec<String>,
    /// Lines put before all headers.
    pub(crate) first: Vec<String>,
    /// Lines put after all headers. A header already there is not replaced.
    pub(crate) add: Vec<String>,
    /// Further harmless lines until there are this many.
    pub(crate) lines_total: Option<Number>,
    /// A last header filled up until the head, blank line included, has this many bytes.
    pub(crate) bytes_total: Option<Number>,
    /// What ends each line, instead of CR LF.
    pub(crate) line_end: Option<String>,
}

/// A frame, valid unless a field says otherwise.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Frame {
    /// The opcode by name (`text`, `binary`, `continuation`, `close`, `ping`, `pong`) or number.
    pub(crate) opcode: String,
    /// The FIN bit.
    #[serde(default = "yes")]
    pub(crate) fin: bool,
    /// RSV1, RSV2 and RSV3 as the bits 4, 2 and 1.
    #[serde(default)]
    pub(crate) rsv: Number,
    /// The masking key in hexadecimal, or `none`. A client's frames are masked by default.
    pub(crate) mask: Option<String>,
    /// The payload before masking.
    #[serde(default)]
    pub(crate) payload: Payload,
    /// The code of a Close frame, put before the payload.
    pub(crate) code: Option<Number>,
    /// The length the header claims, instead of the payload's.
    pub(crate) claimed: Option<Number>,
    /// Width of the length field: 7, 16 or 64, instead of the shortest.
    pub(crate) length_bits: Option<Number>,
}

fn yes() -> bool {
    true
}

/// The same steps many times.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Repeat {
    /// How often.
    pub(crate) times: usize,
    /// What.
    pub(crate) steps: Vec<Step>,
}

/// Time that passes, as a part or multiple of one of the server's deadlines.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wait {
    /// Which deadline.
    pub(crate) deadline: Deadline,
    /// How much of it.
    pub(crate) times: f64,
}

/// The deadlines of a server that a row can wait for.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Deadline {
    /// For the whole request head.
    Handshake,
    /// For the whole message.
    Assembly,
    /// For the peer's Close.
    Close,
}

/// A whole number, also as a string: decimal or `0x..`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Number(pub(crate) u64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Number(number) => Ok(Self(number)),
            Written::Text(text) => match text.strip_prefix("0x") {
                Some(digits) => u64::from_str_radix(digits, 16),
                None => text.parse(),
            }
            .map(Self)
            .map_err(D::Error::custom),
        }
    }
}

/// A payload, written out or generated.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Payload {
    /// As text.
    Text(String),
    /// By a rule.
    Rule(PayloadRule),
}

impl Default for Payload {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

/// Payloads that are not written out as text.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum PayloadRule {
    /// Hexadecimal digits, spaces ignored.
    Hex(String),
    /// This many letters, a to w over and over.
    Letters(Number),
    /// This many bytes, 0 to 250 over and over.
    Octets(Number),
    /// A text so many times.
    Repeated(String, usize),
    /// Another payload in compressed form, as zlib writes it.
    Deflated(Box<Payload>),
}

/// One acceptable answer.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Expectation {
    /// The acceptable statuses; none when there must be no response at all.
    pub(crate) status: Option<OneOrMany<u16>>,
    /// Header lines a response must have, names in any case.
    pub(crate) headers: Vec<String>,
    /// Header names a response must not have.
    pub(crate) absent: Vec<String>,
    /// The response announces a body but has none (HEAD).
    pub(crate) bodyless: bool,
    /// The messages and control frames that must follow, in order, and no others.
    pub(crate) frames: Vec<ExpectedFrame>,
    /// How it ends; `closed` after a Close frame or an HTTP answer other than 101, else `open`.
    pub(crate) then: Option<End>,
    /// The close code the application must see, where the subject can tell.
    pub(crate) application: Option<u16>,
}

/// One message or control frame of an answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum ExpectedFrame {
    /// A text message.
    Text(Payload),
    /// A binary message.
    Binary(Payload),
    /// A Pong.
    Pong(Payload),
    /// Any number of Pongs, none included.
    AnyPongs,
    /// A Close with one of these codes; the reason is not compared.
    Close(OneOrMany<Number>),
    /// A Close without a code.
    CloseEmpty,
    /// The same frames many times.
    Repeat(RepeatedFrames),
}

/// The same frames many times.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RepeatedFrames {
    /// How often.
    pub(crate) times: usize,
    /// What.
    pub(crate) frames: Vec<ExpectedFrame>,
}

/// How a connection must end up.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum End {
    /// The server ended the stream.
    Closed,
    /// The server ended the stream and has let go of the connection.
    Gone,
    /// The connection works: a Ping is answered, and then a Close.
    Open,
}

/// A file of rows, `$each` not yet replaced.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    /// Whether rows begin after the opening handshake when they do not say.
    #[serde(default)]
    opened: bool,
    #[serde(default)]
    row: Vec<toml::Value>,
    #[serde(default)]
    elsewhere: Vec<Elsewhere>,
}

/// Reads the rows of a table, one for each value of `each`, and what it leaves to others.
///
/// # Errors
/// A sentence naming the row that cannot be read and why.
pub(crate) fn read<R: DeserializeOwned>(text: &str) -> Result<(Vec<R>, Vec<Elsewhere>), String> {
    let table: Table = toml::from_str(text).map_err(|error| error.to_string())?;
    let mut rows = Vec::new();
    for mut value in table.row {
        if let Some(fields) = value.as_table_mut().filter(|_| table.opened) {
            fields.entry("opened").or_insert(toml::Value::Boolean(true));
        }
        for variant in variants(value) {
            let written = variant.to_string();
            rows.push(variant.try_into().map_err(|error| format!("{error} in row {written}"))?);
        }
    }
    Ok((rows, table.elsewhere))
}

/// The row itself, or one row for each value of `each`, whose id ends in `[value]`.
fn variants(mut row: toml::Value) -> Vec<toml::Value> {
    let each = row.as_table_mut().and_then(|fields| fields.remove("each"));
    let Some(toml::Value::Array(values)) = each else { return vec![row] };
    let texts = values.iter().filter_map(toml::Value::as_str);
    let variant = |value: &str| {
        let mut variant = row.clone();
        if let Some(toml::Value::String(id)) = variant.get_mut("id") {
            id.push_str(&format!("[{}]", value.escape_default()));
        }
        replace(&mut variant, value);
        variant
    };
    texts.map(variant).collect()
}

/// Puts `value` wherever a string says `$each`.
fn replace(place: &mut toml::Value, value: &str) {
    match place {
        toml::Value::String(text) => *text = text.replace("$each", value),
        toml::Value::Array(items) => items.iter_mut().for_each(|item| replace(item, value)),
        toml::Value::Table(fields) => {
            fields.iter_mut().for_each(|(_, field)| replace(field, value));
        }
        _ => {}
    }
}
