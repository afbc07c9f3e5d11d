//! Messages and control frames to bytes, for either role. It does not queue: it appends to the
//! vector it is given.

use super::MessageKind;
use super::close::{CloseCode, truncate_reason};
use super::frame::{CONTROL_BYTES_MAX, FrameHeader, Opcode, Role};
use crate::simd::copy_and_mask;

/// The sending half of one connection: its role decides whether frames are masked.
#[derive(Clone, Copy, Debug)]
pub struct Encoder {
    role: Role,
}

impl Encoder {
    /// An encoder for an endpoint of this role.
    #[must_use]
    pub fn new(role: Role) -> Self {
        Self { role }
    }

    /// Appends one frame; `masks` is asked only by a client.
    #[inline]
    pub fn frame(
        self,
        out: &mut Vec<u8>,
        opcode: Opcode,
        fin: bool,
        payload: &[u8],
        masks: &mut impl FnMut() -> [u8; 4],
    ) {
        if self.role == Role::Server && payload.len() <= 125 {
            // The hottest case: a short frame from a server is two bytes and the payload.
            out.reserve(2 + payload.len());
            out.extend_from_slice(&[u8::from(fin) << 7 | opcode as u8, payload.len() as u8]);
            out.extend_from_slice(payload);
            return;
        }
        let payload_bytes = payload.len() as u64;
        let header = FrameHeader { fin, compressed: false, opcode, mask: None, payload_bytes };
        self.general_frame(out, header, payload, masks);
    }

    /// Appends a whole message in compressed form as one frame (RFC 7692 section 7.2.1).
    pub fn compressed_message(
        self,
        out: &mut Vec<u8>,
        kind: MessageKind,
        compressed: &[u8],
        masks: &mut impl FnMut() -> [u8; 4],
    ) {
        let (opcode, payload_bytes) = (kind.opcode(), compressed.len() as u64);
        let header = FrameHeader { fin: true, compressed: true, opcode, mask: None, payload_bytes };
        self.general_frame(out, header, compressed, masks);
    }

    fn general_frame(
        self,
        out: &mut Vec<u8>,
        mut header: FrameHeader,
        payload: &[u8],
        masks: &mut impl FnMut() -> [u8; 4],
    ) {
        let mask = (self.role == Role::Client).then(masks);
        header.mask = mask;
        let (bytes, size) = header.encode();
        out.extend_from_slice(&bytes[..size]);
        match mask {
            None => out.extend_from_slice(payload),
            Some(mask) => {
                let start = out.len();
                out.resize(start + payload.len(), 0);
                copy_and_mask(payload, &mut out[start..], mask, 0);
            }
        }
    }

    /// Appends a Close frame: without a body when there is no code. A reason is cut to what fits.
    pub fn close(
        self,
        out: &mut Vec<u8>,
        code: Option<CloseCode>,
        reason: &str,
        masks: &mut impl FnMut() -> [u8; 4],
    ) {
        let Some(code) = code.filter(|code| code.may_be_sent()) else {
            return self.frame(out, Opcode::Close, true, &[], masks);
        };
        let reason = truncate_reason(reason).as_bytes();
        let mut body = [0; CONTROL_BYTES_MAX];
        body[..2].copy_from_slice(&code.0.to_be_bytes());
        body[2..2 + reason.len()].copy_from_slice(reason);
        self.frame(out, Opcode::Close, true, &body[..2 + reason.len()], masks);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Pool;
    use crate::protocol::{Decoder, Event};

    #[test]
    fn what_either_role_sends_the_other_reads_back() {
        for (sender, receiver) in [(Role::Client, Role::Server), (Role::Server, Role::Client)] {
            for length in [0, 1, 20, 125, 126, 65_535, 65_536] {
                let payload: Vec<u8> = (0..length).map(|index| index as u8).collect();
                let mut out = Vec::new();
                let mut mask = || [9, 8, 7, 6];
                Encoder::new(sender).frame(&mut out, Opcode::Binary, true, &payload, &mut mask);
                let mut input = &mut out[..];
                let mut pool = Pool::new();
                let event = Decoder::new(receiver).next(&mut input, &mut pool, 1 << 20);
                let Ok(Some(Event::Message { kind, payload: read })) = event else { panic!() };
                assert_eq!((kind, read.bytes()), (MessageKind::Binary, &payload[..]));
            }
        }
    }

    #[test]
    fn a_close_frame_never_carries_a_code_that_must_not_be_sent() {
        let mut out = Vec::new();
        let encoder = Encoder::new(Role::Server);
        encoder.close(&mut out, Some(CloseCode::ABNORMAL), "lost", &mut || [0; 4]);
        assert_eq!(out, [0x88, 0]);
        out.clear();
        encoder.close(&mut out, Some(CloseCode::NORMAL), &"x".repeat(200), &mut || [0; 4]);
        assert_eq!(out.len(), 127);
    }
}
