//! A blocking WebSocket client over one socket, written without the engine's protocol, so that both
//! are not wrong in the same way. It follows no rules on its own: it answers no Ping and no Close.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::SockRef;

use crate::random::Random;

/// Longest time anything may take that should take none.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The opcodes of RFC 6455 section 11.8.
pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// The key and the answer to it from RFC 6455 section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A received frame; servers send whole messages, so there is no FIN bit to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// Code and reason of a Close frame; 1005 when it has none.
    pub(crate) fn close(&self) -> (u16, String) {
        assert_eq!(self.opcode, CLOSE, "a Close frame, not {self:?}");
        match &self.payload[..] {
            [] => (1005, String::new()),
            [high, low, reason @ ..] => (
                u16::from_be_bytes([*high, *low]),
                String::from_utf8(reason.to_vec()).expect("a reason is UTF-8"),
            ),
            [_] => panic!("a Close frame with half a code"),
        }
    }
}

/// A masked frame as clients send it (RFC 6455 section 5.2).
pub(crate) fn frame(fin: bool, opcode: u8, payload: &[u8], mask: u32) -> Vec<u8> {
    let mut bytes = vec![u8::from(fin) << 7 | opcode];
    match payload.len() {
        length @ 0..126 => bytes.push(0x80 | length as u8),
        length @ 126..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let mask = mask.to_be_bytes();
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The request of an upgrade.
pub(crate) fn upgrade_request(target: &str, headers: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{headers}\r\n"
    )
}

/// One connection.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    inbox: Vec<u8>,
    taken: usize,
    masks: Random,
}

impl Client {
    /// Connects and completes the handshake at `/`.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::upgrade(address, "/", "").0
    }

    /// Connects and completes the handshake; also the head of the answer.
    pub(crate) fn upgrade(address: SocketAddr, target: &str, headers: &str) -> (Self, String) {
        let mut client = Self::raw(address);
        client.send_bytes(upgrade_request(target, headers).as_bytes());
        let head = client.head().expect("an answer to the upgrade");
        client.check_switched(&head);
        (client, head)
    }

    /// Looks whether the answer to the upgrade is the right one.
    pub(crate) fn check_switched(&self, head: &str) {
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains(ACCEPT), "{head}");
    }

    /// Connects, nothing more.
    pub(crate) fn raw(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).expect("the server accepts"))
    }

    /// Uses a connected socket.
    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("a TCP socket can send at once");
        stream.set_read_timeout(Some(PATIENCE)).expect("patience is not zero");
        stream.set_write_timeout(Some(PATIENCE)).expect("patience is not zero");
        let port = stream.local_addr().map_or(0, |address| address.port());
        Self { stream, inbox: Vec::new(), taken: 0, masks: Random(port.into()) }
    }

    /// The same connection, to be used by another thread for sending.
    pub(crate) fn sender(&self) -> Self {
        Self::over(self.stream.try_clone().expect("a descriptor for a copy"))
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server takes what is sent");
    }

    /// Sends one frame.
    pub(crate) fn send_frame(&mut self, fin: bool, opcode: u8, payload: &[u8]) {
        let bytes = frame(fin, opcode, payload, self.masks.next() as u32);
        self.send_bytes(&bytes);
    }

    pub(crate) fn send_text(&mut self, text: &str) {
        self.send_frame(true, TEXT, text.as_bytes());
    }

    pub(crate) fn send_binary(&mut self, payload: &[u8]) {
        self.send_frame(true, BINARY, payload);
    }

    /// Sends a Close frame with this code.
    pub(crate) fn send_close(&mut self, code: u16, reason: &str) {
        let body = [&code.to_be_bytes()[..], reason.as_bytes()].concat();
        self.send_frame(true, CLOSE, &body);
    }

    /// Reads more into the inbox; false at the end of the stream.
    fn fill(&mut self) -> bool {
        if self.taken > 0 {
            self.inbox.drain(..self.taken);
            self.taken = 0;
        }
        let mut buffer = [0; 65_536];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(bytes) => {
                    self.inbox.extend_from_slice(&buffer[..bytes]);
                    return true;
                }
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => return false,
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                        panic!("nothing more came for {:?}", self.stream.read_timeout())
                    }
                    kind => panic!("receiving failed: {kind:?}"),
                },
            }
        }
    }

    fn unread(&self) -> &[u8] {
        &self.inbox[self.taken..]
    }

    /// The head of an HTTP answer, without its last line ends; `None` if none comes.
    pub(crate) fn head(&mut self) -> Option<String> {
        loop {
            let unread = self.unread();
            if let Some(end) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&unread[..end]).into_owned();
                self.taken += end + 4;
                return Some(head);
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// All that comes until the end of the stream.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        let rest = self.unread().to_vec();
        self.taken = self.inbox.len();
        rest
    }

    /// The next frame; `None` at the end of the stream.
    pub(crate) fn next_frame(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, size)) = parse(self.unread()) {
                self.taken += size;
                return Some(frame);
            }
            if !self.fill() {
                assert_eq!(self.unread(), b"", "the stream ends within a frame");
                return None;
            }
        }
    }

    /// The next frame, which may be part of a message: its first byte and its payload.
    pub(crate) fn expect_fragment(&mut self) -> (u8, Vec<u8>) {
        loop {
            if let Some((first, payload, size)) = parse_fragment(self.unread()) {
                self.taken += size;
                return (first, payload);
            }
            assert!(self.fill(), "a frame, not the end of the connection");
        }
    }

    /// The next frame, which must be there.
    pub(crate) fn expect_frame(&mut self) -> Frame {
        self.next_frame().expect("a frame, not the end of the connection")
    }

    /// The next frame must be this message.
    pub(crate) fn expect_message(&mut self, opcode: u8, payload: &[u8]) {
        let frame = self.expect_frame();
        assert_eq!(frame.opcode, opcode, "payload: {:?}", excerpt(&frame.payload));
        assert!(
            frame.payload == payload,
            "another message of {} bytes for one of {}: {:?} for {:?}",
            frame.payload.len(),
            payload.len(),
            excerpt(&frame.payload),
            excerpt(payload),
        );
    }

    pub(crate) fn expect_text(&mut self, text: &str) {
        self.expect_message(TEXT, text.as_bytes());
    }

    /// Sends a text and waits for its echo.
    pub(crate) fn echo(&mut self, text: &str) {
        self.send_text(text);
        self.expect_text(text);
    }

    /// The next frame must be a Close frame with this code, which is answered, and then the end.
    pub(crate) fn expect_closed_with(&mut self, code: u16) -> String {
        let (found, reason) = self.expect_frame().close();
        assert_eq!(found, code, "{reason}");
        // The server may have gone already if it does not wait for the answer.
        let _ = self.stream.write_all(&frame(true, CLOSE, &code.to_be_bytes(), 7));
        self.expect_end();
        reason
    }

    /// Nothing more must come.
    pub(crate) fn expect_end(&mut self) {
        assert_eq!(self.next_frame(), None);
    }

    /// Sends no more.
    pub(crate) fn finish_sending(&self) {
        self.stream.shutdown(Shutdown::Write).expect("the socket is connected");
    }

    /// Ends the connection with RST.
    pub(crate) fn reset(self) {
        SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .expect("a socket can be told to send RST");
    }
}

fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned()
}

/// Reads a whole message of a server off the front, if it is there.
fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (first, payload, size) = parse_fragment(bytes)?;
    assert_eq!(first & 0xf0, 0x80, "a whole message without reserved bits");
    Some((Frame { opcode: first & 0x0f, payload }, size))
}

/// Reads a server's frame off the front, if it is there whole: its first byte and its payload.
fn parse_fragment(bytes: &[u8]) -> Option<(u8, Vec<u8>, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    assert_eq!(second & 0x80, 0, "a server does not mask");
    let (header, length) = match second {
        126 => (4, u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)),
        length => (2, u64::from(length)),
    };
    let size = header + usize::try_from(length).ok()?;
    let payload = bytes.get(header..size)?.to_vec();
    Some((first, payload, size))
}
