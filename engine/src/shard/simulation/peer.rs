//! A peer: what it sends is written beforehand, when and in what pieces the dice say, and so with
//! what it reads. It checks nothing but that frames are frames.

use std::collections::VecDeque;

use crate::driver::ring::simulated::{Dice, World};
use crate::protocol::{Encoder, FrameHeader, Opcode, Role};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: simulation\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// What a peer does when it has sent what it has to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The closing handshake.
    Close,
    /// It shuts its direction without one.
    Finish,
    /// It vanishes, after so many bytes of what it has to send.
    Reset(usize),
    /// It waits to be told.
    Stay,
}

/// One peer.
#[derive(Debug)]
pub(super) struct Peer {
    id: u64,
    to_send: VecDeque<u8>,
    sent: usize,
    pub(super) fate: Fate,
    /// One that reads seldom and little.
    slow: bool,
    unread: Vec<u8>,
    /// Whether the handshake was answered.
    pub(super) is_open: bool,
    /// Messages received, in order.
    pub(super) messages: Vec<Vec<u8>>,
    /// Payloads of Pongs received, in order.
    pub(super) pongs: Vec<Vec<u8>>,
    /// The code of the Close frame received.
    pub(super) close: Option<u16>,
    ended: bool,
}

impl Peer {
    /// A peer on a connection that sends these frames after its request.
    pub(super) fn new(id: u64, frames: Vec<u8>, fate: Fate, slow: bool) -> Self {
        let mut to_send: VecDeque<u8> = REQUEST.iter().copied().chain(frames).collect();
        if fate == Fate::Close {
            let mut frame = Vec::new();
            write_frame(&mut frame, true, Opcode::Close, &1000_u16.to_be_bytes(), [9; 4]);
            to_send.extend(frame);
        }
        Self {
            id,
            to_send,
            sent: 0,
            fate,
            slow,
            unread: Vec::new(),
            is_open: false,
            messages: Vec::new(),
            pongs: Vec::new(),
            close: None,
            ended: false,
        }
    }

    /// Whether the server has let go of the connection and everything it sent was read.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Ends a peer that stays.
    pub(super) fn leave(&mut self) {
        let mut frame = Vec::new();
        write_frame(&mut frame, true, Opcode::Close, &1000_u16.to_be_bytes(), [9; 4]);
        self.to_send.extend(frame);
        self.fate = Fate::Close;
    }

    pub(super) fn act(&mut self, world: &mut World) {
        if self.ended {
            return;
        }
        if let Some(rest) = world.take_remains(self.id) {
            self.unread.extend(rest);
            self.read();
            self.ended = true;
            return;
        }
        let (sends, reads) =
            (world.dice.below(3) > 0, world.dice.below(if self.slow { 9 } else { 2 }) == 0);
        let piece = world.dice.some_of(1 + self.to_send.len().min(100_000));
        let window = world.dice.below(if self.slow { 2_000 } else { 200_000 });
        let Some(socket) = world.connection(self.id) else { return };
        if reads {
            self.unread.append(&mut socket.to_peer);
            socket.window += window;
        }
        if let Fate::Reset(after) = self.fate
            && self.sent >= after
            && !socket.reset
        {
            socket.reset = true;
            world.mishaps.resets += 1;
        } else if sends {
            let piece = piece.min(self.to_send.len());
            socket.to_server.extend(self.to_send.drain(..piece));
            self.sent += piece;
            socket.peer_finished |= self.to_send.is_empty() && self.fate == Fate::Finish;
        }
        self.read();
    }

    /// Takes apart what was received.
    fn read(&mut self) {
        if !self.is_open {
            let Some(end) = self.unread.windows(4).position(|window| window == b"\r\n\r\n") else {
                return;
            };
            let head: Vec<u8> = self.unread.drain(..end + 4).collect();
            assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", head.escape_ascii());
            self.is_open = true;
        }
        let mut used = 0;
        while let Some((header, size)) =
            FrameHeader::parse(&self.unread[used..], Role::Client, false)
                .expect("the server sends frames")
        {
            let end = used + size + header.payload_bytes as usize;
            let Some(payload) = self.unread.get(used + size..end) else { break };
            assert_eq!(self.close, None, "nothing follows a Close frame");
            match header.opcode {
                Opcode::Pong => self.pongs.push(payload.to_vec()),
                Opcode::Close => self.close = Some(u16::from_be_bytes([payload[0], payload[1]])),
                Opcode::Ping => {}
                _ => self.messages.push(payload.to_vec()),
            }
            used = end;
        }
        self.unread.drain(..used);
    }
}

/// Appends a frame as clients send it.
pub(super) fn write_frame(
    out: &mut Vec<u8>,
    fin: bool,
    opcode: Opcode,
    payload: &[u8],
    mask: [u8; 4],
) {
    Encoder::new(Role::Client).frame(out, opcode, fin, payload, &mut || mask);
}

/// How a peer ends, and whether it reads slowly.
pub(super) fn character(dice: &mut Dice, bytes: usize) -> (Fate, bool) {
    let fate = match dice.below(5) {
        0 => Fate::Reset(dice.below(bytes + 200)),
        1 => Fate::Finish,
        _ => Fate::Close,
    };
    (fate, dice.once_in(6))
}
