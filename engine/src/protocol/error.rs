//! What a peer can do wrong after the handshake, and the one mapping of it to a close code.

use std::fmt;

use super::CloseCode;

/// A peer's violation. The connection fails with [`close_code`](Self::close_code) (RFC 6455
/// section 7.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolError {
    /// A reserved bit is set and no extension gives it a meaning (section 5.2).
    ReservedBit,
    /// An opcode from 3 to 7 or B to F (section 5.2).
    UnknownOpcode,
    /// A control frame without FIN (section 5.5).
    FragmentedControl,
    /// A control frame that announces more than 125 bytes (section 5.5).
    OversizeControl,
    /// A client's frame without a mask (section 5.1).
    UnmaskedFrame,
    /// A server's frame with a mask (section 5.1).
    MaskedFrame,
    /// A length that a shorter form could have said (section 5.2).
    LengthNotMinimal,
    /// A 64-bit length with its highest bit set (section 5.2).
    LengthHighBit,
    /// A continuation frame while no message is open (section 5.4).
    UnexpectedContinuation,
    /// A new message while another is open (section 5.4).
    ExpectedContinuation,
    /// Text that is not UTF-8 (section 8.1).
    InvalidUtf8,
    /// A Close frame with a body of one byte (section 5.5.1).
    CloseBodyTooShort,
    /// A close code that must not be sent (section 7.4).
    InvalidCloseCode,
    /// A close reason that is not UTF-8 (section 5.5.1).
    InvalidCloseReason,
    /// Compressed data that cannot be restored (RFC 7692 section 7.2.2).
    CorruptCompression,
    /// A message beyond the limit (section 7.4.1, 1009).
    MessageTooBig,
    /// A message that took too long to arrive.
    AssemblyTimeout,
    /// More control frames than the limit allows.
    ControlFlood,
    /// More messages a second than the limit allows.
    MessageRate,
    /// More bytes a second than the limit allows.
    ByteRate,
    /// More bytes waiting to be sent than the limit allows: the peer does not read.
    SlowConsumer,
}

impl ProtocolError {
    /// The code of the Close frame that answers it.
    #[must_use]
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::ReservedBit
            | Self::UnknownOpcode
            | Self::FragmentedControl
            | Self::OversizeControl
            | Self::UnmaskedFrame
            | Self::MaskedFrame
            | Self::LengthNotMinimal
            | Self::LengthHighBit
            | Self::UnexpectedContinuation
            | Self::ExpectedContinuation
            | Self::CloseBodyTooShort
            | Self::InvalidCloseCode => CloseCode::PROTOCOL_ERROR,
            Self::InvalidUtf8 | Self::InvalidCloseReason | Self::CorruptCompression => {
                CloseCode::INVALID_PAYLOAD
            }
            Self::MessageTooBig => CloseCode::MESSAGE_TOO_BIG,
            Self::AssemblyTimeout
            | Self::ControlFlood
            | Self::MessageRate
            | Self::ByteRate
            | Self::SlowConsumer => CloseCode::POLICY_VIOLATION,
        }
    }

    /// What was wrong, in a few words that fit a close reason.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::ReservedBit => "reserved bit set without an extension",
            Self::UnknownOpcode => "unknown opcode",
            Self::FragmentedControl => "fragmented control frame",
            Self::OversizeControl => "control frame over 125 bytes",
            Self::UnmaskedFrame => "frame from a client without a mask",
            Self::MaskedFrame => "frame from a server with a mask",
            Self::LengthNotMinimal => "length not in its shortest form",
            Self::LengthHighBit => "64-bit length with the highest bit set",
            Self::UnexpectedContinuation => "continuation without a message",
            Self::ExpectedContinuation => "new message inside a fragmented one",
            Self::InvalidUtf8 => "text is not UTF-8",
            Self::CloseBodyTooShort => "close body of one byte",
            Self::InvalidCloseCode => "close code that must not be sent",
            Self::InvalidCloseReason => "close reason is not UTF-8",
            Self::CorruptCompression => "compressed data is corrupt",
            Self::MessageTooBig => "message over the limit",
            Self::AssemblyTimeout => "message took too long to arrive",
            Self::ControlFlood => "too many control frames",
            Self::MessageRate => "too many messages a second",
            Self::ByteRate => "too many bytes a second",
            Self::SlowConsumer => "too much waiting to be read",
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (close {})", self.reason(), self.close_code())
    }
}

impl std::error::Error for ProtocolError {}
