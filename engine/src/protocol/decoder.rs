//! Bytes in, messages and control frames out (RFC 6455 sections 5 and 8). It sends nothing, keeps
//! no time, and does not know what an answer is; the connection decides what an event means.
//!
//! A frame that lies whole in the input is handled in place. What is cut (a header, a payload, a
//! fragmented message) is kept in one boxed [`Partial`], which exists only while something is cut,
//! so that an idle connection holds a null pointer.

use super::close::CloseCode;
use super::frame::{FrameHeader, HEADER_BYTES_MAX, Opcode, Role};
use super::{MessageKind, ProtocolError};
use crate::buffer::{HEADROOM_BYTES, InPlace, Pool};
use crate::simd::{Utf8Stream, apply_mask, validate};

/// The least room offered to a receive that writes straight into the assembly.
const DIRECT_BYTES_MIN: usize = 64 * 1024;

/// A whole message's bytes as the decoder hands them out.
#[derive(Debug)]
pub enum Received<'b> {
    /// In the input.
    InPlace(InPlace<'b>),
    /// Assembled behind [`HEADROOM_BYTES`] free bytes.
    Assembled(Vec<u8>),
}

impl Received<'_> {
    /// The payload.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::InPlace(payload) => payload.bytes(),
            Self::Assembled(vector) => vector.get(HEADROOM_BYTES..).unwrap_or_default(),
        }
    }
}

/// What the peer's bytes say.
#[derive(Debug)]
pub enum Event<'b> {
    /// A whole message; text is valid UTF-8.
    Message {
        /// Text or binary.
        kind: MessageKind,
        /// Its bytes, unmasked.
        payload: Received<'b>,
    },
    /// A piece of a message, as it arrived: only after [`Decoder::receive_chunks`].
    Chunk {
        /// Text or binary.
        kind: MessageKind,
        /// The bytes, unmasked. All text so far is valid UTF-8; a piece may end within a character.
        payload: InPlace<'b>,
        /// Whether it begins the message.
        is_first: bool,
        /// Whether it ends the message.
        is_last: bool,
    },
    /// A whole message in compressed form (RFC 7692); its kind counts once it is restored.
    Compressed {
        /// Text or binary.
        kind: MessageKind,
        /// Its compressed bytes, unmasked.
        payload: Received<'b>,
    },
    /// A fragment without a byte that is not the last of its message: allowed, of no use, and
    /// therefore to be bounded like a control frame.
    EmptyFragment,
    /// A Ping with at most 125 bytes.
    Ping(Received<'b>),
    /// A Pong with at most 125 bytes.
    Pong(Received<'b>),
    /// A Close frame; nothing after it counts.
    Close {
        /// The code, if there was one.
        code: Option<CloseCode>,
        /// The reason, empty if there was none.
        reason: String,
    },
}

/// The receiving half of one connection.
#[derive(Debug)]
pub struct Decoder {
    partial: Option<Box<Partial>>,
    role: Role,
    deflate: bool,
    chunks: bool,
}

/// What is kept while something is cut.
///
/// Invariant: at most one of `stashed > 0` and `frame.is_some()` holds; `assembly` is empty or has
/// its headroom; `message` is set from the first data frame's header to the end of the last one.
#[derive(Debug, Default)]
struct Partial {
    stash: [u8; HEADER_BYTES_MAX],
    stashed: u8,
    frame: Option<OpenFrame>,
    message: Option<MessageKind>,
    /// The message is compressed.
    compressed: bool,
    utf8: Utf8Stream,
    control: Vec<u8>,
    assembly: Vec<u8>,
    /// Room of the assembly while it is lent.
    lent_bytes: usize,
    /// The message is handed out in pieces as they arrive.
    chunked: bool,
    /// One of them has been.
    chunk_given: bool,
}

#[derive(Clone, Copy, Debug)]
struct OpenFrame {
    header: FrameHeader,
    received: u64,
}

impl Decoder {
    /// A decoder for frames that arrive at an endpoint of this role.
    #[must_use]
    pub fn new(role: Role) -> Self {
        Self { partial: None, role, deflate: false, chunks: false }
    }

    /// Hands messages that begin from here on out in pieces as they arrive, however long they come
    /// to be, or whole again. Compressed messages and those of one frame that is there at once are
    /// whole all the same.
    pub fn receive_chunks(&mut self, chunks: bool) {
        self.chunks = chunks;
    }

    /// Takes compressed messages from here on: permessage-deflate was agreed on.
    pub fn accept_compressed(&mut self) {
        self.deflate = true;
    }

    /// Whether a frame or message has begun and not ended.
    #[must_use]
    pub fn is_assembling(&self) -> bool {
        self.partial.is_some()
    }

    /// Memory that an open message takes: the room of its assembly, lent or not.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.assembly.capacity() + partial.lent_bytes)
    }

    /// Payload bytes that the open data frame still misses and that belong in an assembly.
    #[must_use]
    pub fn missing_bytes(&self) -> u64 {
        match self.partial.as_deref().and_then(|partial| partial.frame.as_ref()) {
            Some(frame) if !frame.header.opcode.is_control() && !self.is_chunked() => {
                frame.header.payload_bytes - frame.received
            }
            _ => 0,
        }
    }

    /// Whether messages that begin now are handed out in pieces.
    #[inline]
    #[must_use]
    pub fn gives_chunks(&self) -> bool {
        self.chunks
    }

    fn is_chunked(&self) -> bool {
        self.partial.as_ref().is_some_and(|partial| partial.chunked)
    }

    /// Returns what the decoder holds to the pool.
    pub fn release(&mut self, pool: &mut Pool) {
        if let Some(partial) = self.partial.take() {
            pool.give(partial.assembly);
        }
    }

    /// Decodes the next event from the front of `input`, which shrinks by what was used. `None`:
    /// all of `input` is used up and more bytes are needed.
    ///
    /// # Errors
    /// The peer's violation, at the first byte that shows it. The decoder must not be used after.
    #[inline]
    pub fn next<'b>(
        &mut self,
        input: &mut &'b mut [u8],
        pool: &mut Pool,
        message_bytes_max: usize,
    ) -> Result<Option<Event<'b>>, ProtocolError> {
        if self.partial.is_none() {
            if self.role == Role::Server
                && let Some((kind, length, mask)) = short_message(input)
                && length <= message_bytes_max
            {
                let mut payload = InPlace::new(split_front(input, 6 + length), 6);
                apply_mask(payload.bytes_mut(), mask, 0);
                if kind == MessageKind::Text && !validate(payload.bytes()) {
                    return Err(ProtocolError::InvalidUtf8);
                }
                return Ok(Some(Event::Message { kind, payload: Received::InPlace(payload) }));
            }
            if let Some((header, size)) = FrameHeader::parse(input, self.role, self.deflate)?
                && header.fin
                && header.opcode != Opcode::Continuation
                && header.payload_bytes <= (input.len() - size) as u64
            {
                let length = header.payload_bytes as usize;
                if length > frame_bytes_max(header.compressed, message_bytes_max)
                    && !header.opcode.is_control()
                    && (header.compressed || !self.chunks)
                {
                    return Err(ProtocolError::MessageTooBig);
                }
                let payload = InPlace::new(split_front(input, size + length), size);
                return whole_frame(header, payload).map(Some);
            }
            if input.is_empty() {
                return Ok(None);
            }
        }
        self.next_cut(input, pool, message_bytes_max)
    }

    /// The general case: something is cut, or is about to be.
    fn next_cut<'b>(
        &mut self,
        input: &mut &'b mut [u8],
        pool: &mut Pool,
        message_bytes_max: usize,
    ) -> Result<Option<Event<'b>>, ProtocolError> {
        let mut partial = self.partial.take().unwrap_or_default();
        loop {
            let frame = match partial.frame {
                Some(frame) => frame,
                None => match partial.next_header(input, self.role, self.deflate)? {
                    Some(header) => partial.open_frame(header, message_bytes_max, self.chunks)?,
                    None => {
                        if partial.stashed > 0 || partial.message.is_some() {
                            self.partial = Some(partial);
                        }
                        return Ok(None);
                    }
                },
            };
            let missing = frame.header.payload_bytes - frame.received;
            let here = missing.min(input.len() as u64) as usize;
            if frame.header.opcode.is_control() {
                let done = partial.receive_control(split_front(input, here), frame);
                if let Some(header) = done {
                    let event = control_event(header, std::mem::take(&mut partial.control));
                    if partial.message.is_some() {
                        self.partial = Some(partial);
                    }
                    return event.map(Some);
                }
            } else {
                let whole = frame.header.fin && frame.received == 0 && here as u64 == missing;
                if whole && frame.header.opcode != Opcode::Continuation {
                    return whole_frame(frame.header, InPlace::new(split_front(input, here), 0))
                        .map(Some);
                }
                if partial.chunked {
                    let (bytes, is_first) = (split_front(input, here), !partial.chunk_given);
                    let is_last = partial.advance_chunk(bytes)?;
                    if !bytes.is_empty() || is_last {
                        let kind = partial.message.unwrap_or(MessageKind::Binary);
                        partial.chunk_given = true;
                        self.partial = (!is_last).then_some(partial);
                        let payload = InPlace::new(bytes, 0);
                        return Ok(Some(Event::Chunk { kind, payload, is_first, is_last }));
                    }
                    let empty = frame.header.payload_bytes == 0;
                    self.partial = Some(partial);
                    return Ok(empty.then_some(Event::EmptyFragment));
                }
                partial.append(split_front(input, here), pool);
                if partial.advance(here)? {
                    return Ok(Some(partial.finish()?));
                }
                if frame.header.payload_bytes == 0 {
                    self.partial = Some(partial);
                    return Ok(Some(Event::EmptyFragment));
                }
            }
            if partial.frame.is_some() {
                self.partial = Some(partial);
                return Ok(None);
            }
        }
    }

    /// Lends the assembly of the open data frame, so that bytes can be received straight into its
    /// spare capacity: the vector and how many bytes of this frame may be appended to it. What is
    /// allocated grows with what was received, never with what was announced. `None` when no data
    /// frame is open. While it is lent, [`next`](Self::next) must not be called.
    pub fn lend_assembly(&mut self, pool: &mut Pool) -> Option<(Vec<u8>, usize)> {
        let missing = usize::try_from(self.missing_bytes()).unwrap_or(usize::MAX);
        let partial = self.partial.as_deref_mut()?;
        if missing == 0 {
            return None;
        }
        let mut assembly = std::mem::take(&mut partial.assembly);
        let announced = assembly.len().max(HEADROOM_BYTES).saturating_add(missing);
        if assembly.capacity() == 0 {
            assembly = pool.take_roomy(HEADROOM_BYTES + DIRECT_BYTES_MIN, announced);
            assembly.resize(HEADROOM_BYTES, 0);
        }
        if assembly.capacity() - assembly.len() < missing.min(DIRECT_BYTES_MIN) {
            let bytes = (2 * assembly.len()).max(2 * DIRECT_BYTES_MIN);
            let mut larger = pool.take_roomy(bytes, announced);
            larger.extend_from_slice(&assembly);
            pool.give(std::mem::replace(&mut assembly, larger));
        }
        let room = missing.min(assembly.capacity() - assembly.len());
        partial.lent_bytes = assembly.capacity();
        Some((assembly, room))
    }

    /// Takes the lent assembly back with `appended` further masked bytes at its end.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub fn take_back(
        &mut self,
        assembly: Vec<u8>,
        appended: usize,
    ) -> Result<Option<Event<'static>>, ProtocolError> {
        let Some(mut partial) = self.partial.take() else { return Ok(None) };
        (partial.assembly, partial.lent_bytes) = (assembly, 0);
        if appended > 0 && partial.advance(appended)? {
            return partial.finish().map(Some);
        }
        self.partial = Some(partial);
        Ok(None)
    }
}

/// The hottest frame of all, recognised by its first two bytes: a whole message of at most 125 bytes
/// from a client. Everything else, and everything wrong, is for the general case.
#[inline]
fn short_message(input: &[u8]) -> Option<(MessageKind, usize, [u8; 4])> {
    let [first, second @ 0x80..=0xfd, m0, m1, m2, m3, rest @ ..] = input else { return None };
    let kind = match first {
        0x81 => MessageKind::Text,
        0x82 => MessageKind::Binary,
        _ => return None,
    };
    let length = usize::from(second & 0x7f);
    (rest.len() >= length).then_some((kind, length, [*m0, *m1, *m2, *m3]))
}

/// Splits `used` bytes off the front of `input`.
#[inline]
fn split_front<'b>(input: &mut &'b mut [u8], used: usize) -> &'b mut [u8] {
    let (front, rest) = std::mem::take(input).split_at_mut(used);
    *input = rest;
    front
}

/// The event of an unfragmented frame whose payload, still masked, is whole.
#[inline]
fn whole_frame(header: FrameHeader, mut payload: InPlace<'_>) -> Result<Event<'_>, ProtocolError> {
    if let Some(mask) = header.mask {
        apply_mask(payload.bytes_mut(), mask, 0);
    }
    if header.compressed {
        let payload = Received::InPlace(payload);
        return Ok(compressed_event(header.opcode, payload));
    }
    let kind = match header.opcode {
        Opcode::Text if validate(payload.bytes()) => MessageKind::Text,
        Opcode::Text => return Err(ProtocolError::InvalidUtf8),
        Opcode::Binary | Opcode::Continuation => MessageKind::Binary,
        Opcode::Ping => return Ok(Event::Ping(Received::InPlace(payload))),
        Opcode::Pong => return Ok(Event::Pong(Received::InPlace(payload))),
        Opcode::Close => return close_event(payload.bytes()),
    };
    Ok(Event::Message { kind, payload: Received::InPlace(payload) })
}

#[cold]
fn compressed_event(opcode: Opcode, payload: Received<'_>) -> Event<'_> {
    let kind = if opcode == Opcode::Text { MessageKind::Text } else { MessageKind::Binary };
    Event::Compressed { kind, payload }
}

/// Most bytes of a message as it arrives. What cannot be compressed is a little longer compressed:
/// by five bytes for each block, of which a sender may make small ones. What it restores to is held
/// to the limit itself.
fn frame_bytes_max(compressed: bool, message_bytes_max: usize) -> usize {
    if compressed {
        message_bytes_max.saturating_add(message_bytes_max / 8).saturating_add(1024)
    } else {
        message_bytes_max
    }
}

/// Checks the body of a Close frame (section 5.5.1).
fn close_event(body: &[u8]) -> Result<Event<'static>, ProtocolError> {
    let reason = match body {
        [] => return Ok(Event::Close { code: None, reason: String::new() }),
        [_] => return Err(ProtocolError::CloseBodyTooShort),
        [_, _, reason @ ..] => reason,
    };
    let code = CloseCode(u16::from_be_bytes([body[0], body[1]]));
    if !code.may_be_sent() {
        return Err(ProtocolError::InvalidCloseCode);
    }
    let reason = std::str::from_utf8(reason).map_err(|_| ProtocolError::InvalidCloseReason)?;
    Ok(Event::Close { code: Some(code), reason: reason.to_owned() })
}

/// The event of a control frame that was cut and is whole now.
fn control_event(
    header: FrameHeader,
    mut payload: Vec<u8>,
) -> Result<Event<'static>, ProtocolError> {
    if let Some(mask) = header.mask {
        apply_mask(&mut payload, mask, 0);
    }
    if header.opcode == Opcode::Close {
        return close_event(&payload);
    }
    let mut vector = vec![0; HEADROOM_BYTES];
    vector.extend_from_slice(&payload);
    let payload = Received::Assembled(vector);
    Ok(if header.opcode == Opcode::Ping { Event::Ping(payload) } else { Event::Pong(payload) })
}

impl Partial {
    /// Reads a header from the stashed bytes and `input`; what does not complete one is stashed.
    fn next_header(
        &mut self,
        input: &mut &mut [u8],
        role: Role,
        deflate: bool,
    ) -> Result<Option<FrameHeader>, ProtocolError> {
        let stashed = usize::from(self.stashed);
        let mut joined = [0; 2 * HEADER_BYTES_MAX];
        joined[..stashed].copy_from_slice(&self.stash[..stashed]);
        let more = input.len().min(HEADER_BYTES_MAX);
        joined[stashed..stashed + more].copy_from_slice(&input[..more]);
        match FrameHeader::parse(&joined[..stashed + more], role, deflate)? {
            Some((header, size)) => {
                split_front(input, size - stashed);
                self.stashed = 0;
                Ok(Some(header))
            }
            None => {
                // A header misses bytes, so it and what is stashed are shorter than the longest.
                split_front(input, more);
                self.stash.copy_from_slice(&joined[..HEADER_BYTES_MAX]);
                self.stashed = (stashed + more) as u8;
                Ok(None)
            }
        }
    }

    /// Checks that the frame fits the message it belongs to (section 5.4) and its limit.
    fn open_frame(
        &mut self,
        header: FrameHeader,
        message_bytes_max: usize,
        chunks: bool,
    ) -> Result<OpenFrame, ProtocolError> {
        if !header.opcode.is_control() {
            let begins = self.message.is_none();
            self.message = Some(match (header.opcode, self.message) {
                (Opcode::Continuation, None) => return Err(ProtocolError::UnexpectedContinuation),
                (Opcode::Continuation, Some(kind)) => kind,
                (_, Some(_)) => return Err(ProtocolError::ExpectedContinuation),
                (Opcode::Text, None) => MessageKind::Text,
                (_, None) => MessageKind::Binary,
            });
            self.compressed |= header.compressed;
            if begins {
                self.chunked = chunks && !self.compressed;
            }
            let frame_bytes_max = frame_bytes_max(self.compressed, message_bytes_max);
            let assembled = self.assembly.len().saturating_sub(HEADROOM_BYTES);
            let most = frame_bytes_max.saturating_sub(assembled) as u64;
            if header.payload_bytes > most && !self.chunked {
                return Err(ProtocolError::MessageTooBig);
            }
        }
        let frame = OpenFrame { header, received: 0 };
        self.frame = Some(frame);
        Ok(frame)
    }

    /// Collects a control frame's payload; its header once it is whole.
    fn receive_control(&mut self, bytes: &[u8], mut frame: OpenFrame) -> Option<FrameHeader> {
        self.control.extend_from_slice(bytes);
        frame.received += bytes.len() as u64;
        let whole = frame.received == frame.header.payload_bytes;
        self.frame = (!whole).then_some(frame);
        whole.then_some(frame.header)
    }

    /// Copies masked bytes to the end of the assembly.
    fn append(&mut self, bytes: &[u8], pool: &mut Pool) {
        if bytes.is_empty() {
            return;
        }
        if self.assembly.capacity() == 0 {
            let missing = self.frame.map_or(0, |frame| frame.header.payload_bytes - frame.received);
            let announced = usize::try_from(missing).unwrap_or(usize::MAX / 2);
            let (bytes, announced) = (HEADROOM_BYTES + bytes.len(), HEADROOM_BYTES + announced);
            self.assembly = pool.take_roomy(bytes, announced);
            self.assembly.resize(HEADROOM_BYTES, 0);
        }
        self.assembly.extend_from_slice(bytes);
    }

    /// Unmasks and validates the last `appended` bytes of the assembly; whether the message is
    /// whole now.
    fn advance(&mut self, appended: usize) -> Result<bool, ProtocolError> {
        let Some(frame) = &mut self.frame else { return Ok(false) };
        let start = self.assembly.len() - appended;
        let fresh = &mut self.assembly[start..];
        if let Some(mask) = frame.header.mask {
            apply_mask(fresh, mask, (frame.received & 3) as usize);
        }
        if self.message == Some(MessageKind::Text) && !self.compressed {
            self.utf8.push(fresh).map_err(|_| ProtocolError::InvalidUtf8)?;
        }
        frame.received += appended as u64;
        if frame.received < frame.header.payload_bytes {
            return Ok(false);
        }
        let fin = frame.header.fin;
        self.frame = None;
        Ok(fin)
    }

    /// Unmasks and validates a piece that is handed out where it lies; whether the message is whole
    /// now.
    fn advance_chunk(&mut self, bytes: &mut [u8]) -> Result<bool, ProtocolError> {
        let Some(frame) = &mut self.frame else { return Ok(false) };
        if let Some(mask) = frame.header.mask {
            apply_mask(bytes, mask, (frame.received & 3) as usize);
        }
        if self.message == Some(MessageKind::Text) {
            self.utf8.push(bytes).map_err(|_| ProtocolError::InvalidUtf8)?;
        }
        frame.received += bytes.len() as u64;
        if frame.received < frame.header.payload_bytes {
            return Ok(false);
        }
        let is_last = frame.header.fin;
        self.frame = None;
        if is_last && !self.utf8.is_complete() {
            return Err(ProtocolError::InvalidUtf8);
        }
        Ok(is_last)
    }

    /// The event of the message that is whole now.
    fn finish(self) -> Result<Event<'static>, ProtocolError> {
        if !self.utf8.is_complete() {
            return Err(ProtocolError::InvalidUtf8);
        }
        let kind = self.message.unwrap_or(MessageKind::Binary);
        let payload = Received::Assembled(self.assembly);
        Ok(if self.compressed {
            Event::Compressed { kind, payload }
        } else {
            Event::Message { kind, payload }
        })
    }
}
