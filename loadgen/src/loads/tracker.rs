//! What one subscriber has received of one publisher: the next number that is due and which of the
//! last ones have come. Losses are not counted here but by who knows how many there were.

/// Numbers before the next one that are remembered singly. One that comes later than that is taken
/// for one that comes again.
const REMEMBERED: u64 = 64;

/// What the message was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receipt {
    /// It had not come before; `late` when one that was published after it had.
    First { late: bool },
    /// It had come before.
    Again,
}

/// The numbers received from one publisher.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tracker {
    next: u64,
    /// Bit `n` stands for the number `next - 1 - n`.
    seen: u64,
}

impl Tracker {
    /// The number that is due.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// The message with this number has come.
    #[inline]
    pub(crate) fn receive(&mut self, sequence: u64) -> Receipt {
        if let Some(ahead) = sequence.checked_sub(self.next) {
            let kept = if ahead + 1 < REMEMBERED { self.seen << (ahead + 1) } else { 0 };
            self.seen = kept | 1;
            self.next = sequence + 1;
            return Receipt::First { late: false };
        }
        let back = self.next - 1 - sequence;
        if back >= REMEMBERED || self.seen & (1 << back) != 0 {
            return Receipt::Again;
        }
        self.seen |= 1 << back;
        Receipt::First { late: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_late_ones_and_repeated_ones_are_told_apart() {
        const IN_ORDER: Receipt = Receipt::First { late: false };
        const LATE: Receipt = Receipt::First { late: true };
        for (came, receipts) in [
            (&[0, 1, 2][..], &[IN_ORDER, IN_ORDER, IN_ORDER][..]),
            (&[0, 0, 1, 0], &[IN_ORDER, Receipt::Again, IN_ORDER, Receipt::Again]),
            (&[0, 3, 1, 1, 2], &[IN_ORDER, IN_ORDER, LATE, Receipt::Again, LATE]),
            (&[63, 0, 0], &[IN_ORDER, LATE, Receipt::Again]),
            (&[5, 1000, 999, 5], &[IN_ORDER, IN_ORDER, LATE, Receipt::Again]),
        ] {
            let mut tracker = Tracker::default();
            let all: Vec<Receipt> = came.iter().map(|&came| tracker.receive(came)).collect();
            assert_eq!(all, receipts, "{came:?}");
            assert_eq!(tracker.next(), came.iter().max().unwrap() + 1);
        }
    }
}
