//! The 64 bits that travel with an operation and come back with its completion: generation (24
//! bits), operation (8), index (32). Nothing is looked up here.

/// Generations count modulo this.
pub(crate) const GENERATION_MASK: u32 = 0x00ff_ffff;

/// What an operation is; the index says on what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Operation {
    /// Multishot accept; index: listener.
    Accept = 1,
    /// Multishot receive; index: connection slot.
    Receive = 2,
    /// Anything that owns memory until it completes; index: entry of the operation table.
    Owning = 3,
    /// Multishot poll of the mailbox.
    Wake = 4,
    /// The standing timeout.
    Tick = 5,
    /// A cancellation or a close: only failures are reported, and those mean nothing.
    Quiet = 6,
}

/// A completion's origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) operation: Operation,
    pub(super) generation: u32,
    pub(super) index: u32,
}

impl Tag {
    pub(super) fn new(operation: Operation, generation: u32, index: u32) -> Self {
        Self { operation, generation: generation & GENERATION_MASK, index }
    }

    pub(super) fn pack(self) -> u64 {
        u64::from(self.generation) << 40
            | u64::from(self.operation as u8) << 32
            | u64::from(self.index)
    }

    /// `None` for bits that [`pack`](Self::pack) never made.
    pub(super) fn unpack(bits: u64) -> Option<Self> {
        let operation = match (bits >> 32) as u8 {
            1 => Operation::Accept,
            2 => Operation::Receive,
            3 => Operation::Owning,
            4 => Operation::Wake,
            5 => Operation::Tick,
            6 => Operation::Quiet,
            _ => return None,
        };
        Some(Self { operation, generation: (bits >> 40) as u32, index: bits as u32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_unpacks_and_nothing_else_does() {
        for operation in
            [Operation::Accept, Operation::Receive, Operation::Owning, Operation::Quiet]
        {
            for (generation, index) in [(0, 0), (1, u32::MAX), (GENERATION_MASK, 7)] {
                let tag = Tag::new(operation, generation, index);
                assert_eq!(Tag::unpack(tag.pack()), Some(tag));
            }
        }
        assert_eq!(Tag::unpack(0), None);
        assert_eq!(Tag::unpack(u64::MAX), None);
        assert_eq!(Tag::new(Operation::Tick, GENERATION_MASK + 1, 0).generation, 0);
    }
}
