//! What the ring does for one connection. It decides nothing.

use crate::shard::core::Side;

/// Batches after which a connection's socket is registered with the ring. A send then costs a few
/// per cent less, which pays for the two system calls within about as many sends again.
pub(super) const SENDS_BEFORE_REGISTERING: u8 = 32;

/// What the ring does for one connection's receiving side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receiving {
    /// Nothing is armed.
    Idle,
    /// A multishot receive.
    Multishot,
    /// A receive that was cancelled and whose last completion has not come.
    Cancelling,
    /// A receive straight into the assembly.
    Direct,
    /// Waits for buffers to come back.
    Parked,
}

/// The ring's view of one connection.
#[derive(Clone, Copy, Debug)]
pub(in crate::shard) struct RingSide {
    pub(super) receiving: Receiving,
    /// A send or a connect is under way, and which operation it is.
    pub(super) busy: bool,
    pub(super) sending: u32,
    /// Which operation a direct receive is.
    pub(super) receiving_directly: u32,
    pub(super) connecting: bool,
    pub(super) shut: bool,
    /// Batches sent, up to [`SENDS_BEFORE_REGISTERING`].
    pub(super) sends: u8,
    /// Its socket is among the ring's registered files.
    pub(super) registered: bool,
    /// Its last message was received directly, so its next one may be.
    pub(super) large: bool,
    /// The send or connect under way was cancelled.
    pub(super) cancelled: bool,
}

impl RingSide {
    pub(super) fn new(connecting: bool) -> Self {
        let receiving = Receiving::Idle;
        Self {
            receiving,
            busy: connecting,
            sending: 0,
            receiving_directly: 0,
            connecting,
            shut: false,
            sends: 0,
            registered: false,
            large: false,
            cancelled: false,
        }
    }
}

impl Side for RingSide {
    const PROGRESS_IS_TOLD: bool = false;
}
