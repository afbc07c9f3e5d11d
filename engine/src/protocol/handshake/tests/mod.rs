//! Whole heads, shown to the scanner in every way they can be cut, against the answer the RFCs
//! ask for. Parts of heads are tested beside the code that reads them.

mod client_rows;
mod scanner_rows;
mod server_rows;

use super::*;

/// What a server does with the bytes received so far.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// The head is not whole yet.
    Waiting,
    /// A sound request for a page.
    Page,
    /// A sound handshake, and how many bytes follow its head.
    Switch { accept: [u8; 28], following_bytes: usize },
    /// A refusal.
    Refused(Rejection),
}

impl Outcome {
    /// The status line's code; 0 while waiting.
    fn status(&self) -> u16 {
        match self {
            Self::Waiting => 0,
            Self::Page => 200,
            Self::Switch { .. } => 101,
            Self::Refused(rejection) => rejection.status.code(),
        }
    }
}

/// The accept value for the key of the RFC's example, which the tests send.
const ACCEPT: [u8; 28] = *b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Serves pieces as they arrive; what follows a refusal is never looked at.
fn serve<'b>(pieces: impl Iterator<Item = &'b [u8]>) -> Outcome {
    let limits = HandshakeLimits::default();
    let mut scanner = HeadScanner::new();
    let mut received = Vec::new();
    let mut head_bytes = None;
    for piece in pieces {
        if head_bytes.is_none() {
            match scanner.scan(piece, &limits) {
                Ok(found) => head_bytes = found.map(|bytes| received.len() + bytes),
                Err(rejection) => return Outcome::Refused(rejection),
            }
        }
        received.extend_from_slice(piece);
    }
    let Some(head_bytes) = head_bytes else { return Outcome::Waiting };
    let mut storage = HeaderStorage::new();
    let request = match Request::parse(&received[..head_bytes], &mut storage, &limits) {
        Ok(request) => request,
        Err(rejection) => return Outcome::Refused(rejection),
    };
    let following_bytes = received.len() - head_bytes;
    let answer = match request.is_upgrade() {
        true => {
            request.check().map(|facts| Outcome::Switch { accept: facts.accept, following_bytes })
        }
        false => request.check_http().map(|()| Outcome::Page),
    };
    answer.unwrap_or_else(Outcome::Refused)
}

/// Serves the bytes whole; short inputs also byte by byte and cut at every point, which must not
/// change anything.
fn serve_every_way(bytes: &[u8]) -> Outcome {
    let whole = serve([bytes].into_iter());
    let excerpt = || bytes[..bytes.len().min(200)].escape_ascii().to_string();
    assert_eq!(serve(bytes.chunks(1)), whole, "byte by byte: {}", excerpt());
    if bytes.len() <= 1000 {
        for cut in 0..=bytes.len() {
            let (first, second) = bytes.split_at(cut);
            assert_eq!(serve([first, second].into_iter()), whole, "cut at {cut}: {}", excerpt());
        }
    }
    whole
}

/// The header lines of a sound handshake.
const HANDSHAKE_LINES: [&str; 5] = [
    "Host: h",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];

/// A sound handshake with this request line, in which a line of the same name takes the place of
/// the sound one, `-Name` takes it out, and other lines are added.
fn handshake_with(request_line: &str, changes: &[&str]) -> Vec<u8> {
    let name_of = |line: &str| {
        let name = line.trim_start_matches('-').split(':').next().unwrap_or_default();
        name.trim().to_ascii_lowercase()
    };
    let mut head = format!("{request_line}\r\n");
    for line in HANDSHAKE_LINES {
        if !changes.iter().any(|change| name_of(change) == name_of(line)) {
            head += &format!("{line}\r\n");
        }
    }
    for change in changes.iter().filter(|change| !change.starts_with('-')) {
        head += &format!("{change}\r\n");
    }
    (head + "\r\n").into_bytes()
}
