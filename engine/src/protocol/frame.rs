//! Frame headers, read and written (RFC 6455 section 5.2). Payloads are not touched here, and
//! whether a frame fits the message it belongs to is the decoder's business.

use super::ProtocolError;

/// Longest header: 2 bytes, 8 of length, 4 of mask.
pub const HEADER_BYTES_MAX: usize = 14;
/// Most payload bytes of a control frame (section 5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

/// Which end of the connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Receives masked frames, sends unmasked ones.
    Server,
    /// Receives unmasked frames, sends masked ones.
    Client,
}

/// The opcodes of section 11.8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// A further part of a fragmented message.
    Continuation = 0,
    /// Text: UTF-8 over the whole message.
    Text = 1,
    /// Bytes.
    Binary = 2,
    /// The closing handshake.
    Close = 8,
    /// Asks for a Pong.
    Ping = 9,
    /// Answers a Ping.
    Pong = 10,
}

impl Opcode {
    fn from_bits(bits: u8) -> Result<Self, ProtocolError> {
        Ok(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return Err(ProtocolError::UnknownOpcode),
        })
    }

    /// Close, Ping or Pong.
    #[must_use]
    pub fn is_control(self) -> bool {
        self as u8 & 8 != 0
    }
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Last frame of its message.
    pub fin: bool,
    /// The message is compressed: RSV1, which only its first frame bears (RFC 7692 section 6).
    pub compressed: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// The mask, in frames from clients.
    pub mask: Option<[u8; 4]>,
    /// Payload length in bytes, below 2^63.
    pub payload_bytes: u64,
}

impl FrameHeader {
    /// Reads a header from the front of `bytes`: the header and its length, or `None` while bytes
    /// are missing. Each rule is checked at the first byte that can break it, so a bad header is
    /// refused even when its end has not arrived. `deflate` tells whether permessage-deflate was
    /// agreed on, which gives the first reserved bit its meaning.
    ///
    /// # Errors
    /// The rule of section 5.1, 5.2 or 5.5 that the header breaks.
    #[inline]
    pub fn parse(
        bytes: &[u8],
        role: Role,
        deflate: bool,
    ) -> Result<Option<(Self, usize)>, ProtocolError> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        if first & 0x70 != 0 && !(deflate && may_be_compressed(first)) {
            return Err(ProtocolError::ReservedBit);
        }
        let compressed = first & 0x40 != 0;
        let opcode = Opcode::from_bits(first & 0x0f)?;
        let fin = first & 0x80 != 0;
        if opcode.is_control() && !fin {
            return Err(ProtocolError::FragmentedControl);
        }
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        let masked = second & 0x80 != 0;
        match role {
            Role::Server if !masked => return Err(ProtocolError::UnmaskedFrame),
            Role::Client if masked => return Err(ProtocolError::MaskedFrame),
            _ => {}
        }
        let short = second & 0x7f;
        if opcode.is_control() && short as usize > CONTROL_BYTES_MAX {
            return Err(ProtocolError::OversizeControl);
        }
        let (payload_bytes, length_end) = match short {
            126 => {
                let Some(field) = bytes.get(2..4) else { return Ok(None) };
                let length = u64::from(u16::from_be_bytes([field[0], field[1]]));
                if length < 126 {
                    return Err(ProtocolError::LengthNotMinimal);
                }
                (length, 4)
            }
            127 => {
                if bytes.get(2).is_some_and(|&byte| byte & 0x80 != 0) {
                    return Err(ProtocolError::LengthHighBit);
                }
                let Some(field) = bytes.get(2..10) else { return Ok(None) };
                let mut eight = [0; 8];
                eight.copy_from_slice(field);
                let length = u64::from_be_bytes(eight);
                if length <= u64::from(u16::MAX) {
                    return Err(ProtocolError::LengthNotMinimal);
                }
                (length, 10)
            }
            _ => (u64::from(short), 2),
        };
        if !masked {
            return Ok(Some((
                Self { fin, compressed, opcode, mask: None, payload_bytes },
                length_end,
            )));
        }
        let Some(field) = bytes.get(length_end..length_end + 4) else { return Ok(None) };
        let mask = Some([field[0], field[1], field[2], field[3]]);
        Ok(Some((Self { fin, compressed, opcode, mask, payload_bytes }, length_end + 4)))
    }

    /// The header's bytes and how many of them count: 2, 4 or 10, and 4 more with a mask.
    #[inline]
    #[must_use]
    pub fn encode(&self) -> ([u8; HEADER_BYTES_MAX], usize) {
        let mut bytes = [0; HEADER_BYTES_MAX];
        bytes[0] = u8::from(self.fin) << 7 | u8::from(self.compressed) << 6 | self.opcode as u8;
        let masked = u8::from(self.mask.is_some()) << 7;
        let length_end = match self.payload_bytes {
            length @ 0..=125 => {
                bytes[1] = masked | length as u8;
                2
            }
            length @ 126..=0xffff => {
                bytes[1] = masked | 126;
                bytes[2..4].copy_from_slice(&(length as u16).to_be_bytes());
                4
            }
            length => {
                bytes[1] = masked | 127;
                bytes[2..10].copy_from_slice(&length.to_be_bytes());
                10
            }
        };
        let Some(mask) = self.mask else { return (bytes, length_end) };
        bytes[length_end..length_end + 4].copy_from_slice(&mask);
        (bytes, length_end + 4)
    }
}

/// Whether no reserved bit but the first is set, and that on the first frame of a data message.
#[cold]
fn may_be_compressed(first: u8) -> bool {
    let opcode = first & 0x0f;
    first & 0x30 == 0 && (opcode == Opcode::Text as u8 || opcode == Opcode::Binary as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(payload_bytes: u64, mask: Option<[u8; 4]>) -> FrameHeader {
        FrameHeader { fin: true, compressed: false, opcode: Opcode::Binary, mask, payload_bytes }
    }

    #[test]
    fn each_of_the_six_header_sizes_reads_back_as_written_at_every_split() {
        let lengths = [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 32, (1 << 63) - 1];
        let mut sizes = std::collections::BTreeSet::new();
        for payload_bytes in lengths {
            for (role, mask) in [(Role::Client, None), (Role::Server, Some([1, 2, 3, 4]))] {
                let written = header(payload_bytes, mask);
                let (bytes, size) = written.encode();
                sizes.insert(size);
                for cut in 0..size {
                    assert_eq!(FrameHeader::parse(&bytes[..cut], role, false), Ok(None));
                }
                assert_eq!(
                    FrameHeader::parse(&bytes[..size], role, false),
                    Ok(Some((written, size)))
                );
            }
        }
        assert_eq!(sizes.into_iter().collect::<Vec<_>>(), [2, 4, 6, 8, 10, 14]);
    }

    #[test]
    fn a_bad_header_is_refused_at_the_first_byte_that_shows_it() {
        let cases: [(&[u8], ProtocolError); 10] = [
            (&[0xc1], ProtocolError::ReservedBit),
            (&[0xa1], ProtocolError::ReservedBit),
            (&[0x91], ProtocolError::ReservedBit),
            (&[0x83], ProtocolError::UnknownOpcode),
            (&[0x8f], ProtocolError::UnknownOpcode),
            (&[0x09], ProtocolError::FragmentedControl),
            (&[0x81, 0x05], ProtocolError::UnmaskedFrame),
            (&[0x89, 0xfe], ProtocolError::OversizeControl),
            (&[0x82, 0xfe, 0, 125], ProtocolError::LengthNotMinimal),
            (&[0x82, 0xff, 0x80], ProtocolError::LengthHighBit),
        ];
        for (bytes, error) in cases {
            assert_eq!(FrameHeader::parse(bytes, Role::Server, false), Err(error), "{bytes:02x?}");
            let before = &bytes[..bytes.len() - 1];
            assert_eq!(FrameHeader::parse(before, Role::Server, false), Ok(None), "{before:02x?}");
        }
        let long_form = [0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
        let refused = FrameHeader::parse(&long_form, Role::Server, false);
        assert_eq!(refused, Err(ProtocolError::LengthNotMinimal));
        assert_eq!(
            FrameHeader::parse(&[0x81, 0x81], Role::Client, false),
            Err(ProtocolError::MaskedFrame)
        );
    }

    #[test]
    fn the_first_reserved_bit_marks_data_messages_once_deflate_is_agreed_on() {
        for (first, allowed) in [
            (0xc1, true),
            (0xc2, true),
            (0x41, true),
            (0x42, true),
            (0x40, false),
            (0xc0, false),
            (0xc8, false),
            (0xc9, false),
            (0xca, false),
            (0xe1, false),
            (0xd1, false),
            (0xf2, false),
            (0xa1, false),
        ] {
            let parsed = FrameHeader::parse(&[first, 0x80, 1, 2, 3, 4], Role::Server, true);
            match parsed {
                Ok(Some((header, 6))) => {
                    assert!(allowed && header.compressed, "{first:02x}");
                    assert_eq!(header.encode().0[0], first);
                }
                other => assert!(
                    !allowed && other == Err(ProtocolError::ReservedBit),
                    "{first:02x}: {other:?}"
                ),
            }
        }
    }
}
