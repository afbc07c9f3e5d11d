//! Opens one shard's share of the connections, a bounded number of handshakes at a time so that
//! no server's backlog overflows. It keeps no connection.

use std::sync::Arc;

use ringsock::client::Outbound;
use ringsock::server::ShardInfo;

use crate::scoreboard::Scoreboard;
use crate::target::Target;

/// Handshakes of one shard that are under way at once.
pub(crate) const HANDSHAKES_MAX: usize = 128;

/// The connections that a shard has still to open.
#[derive(Debug)]
pub(crate) struct Opener {
    target: Arc<Target>,
    board: Arc<Scoreboard>,
    next: usize,
    step: usize,
    end: usize,
    refused_in_a_row: usize,
}

impl Opener {
    /// The share of this shard: the numbers below `connections`, in steps of the number
    /// of shards.
    pub(crate) fn new(
        target: &Arc<Target>,
        board: &Arc<Scoreboard>,
        shard: ShardInfo,
        connections: usize,
    ) -> Self {
        let (target, board) = (Arc::clone(target), Arc::clone(board));
        let (next, step, end) = (shard.shard, shard.shards.max(1), connections);
        Self { target, board, next, step, end, refused_in_a_row: 0 }
    }

    /// How many are left.
    pub(crate) fn left(&self) -> usize {
        self.end.saturating_sub(self.next).div_ceil(self.step)
    }

    /// A connection has been opened.
    pub(crate) fn note_opened(&mut self) {
        self.refused_in_a_row = 0;
    }

    /// A connection has been refused. After as many in a row as may be under way nobody goes on;
    /// how many are left out then.
    pub(crate) fn note_refused(&mut self) -> usize {
        self.refused_in_a_row += 1;
        let left = if self.refused_in_a_row < HANDSHAKES_MAX { 0 } else { self.left() };
        self.next += left * self.step;
        left
    }

    /// Opens up to `count` more; `make_state` is told each one's number.
    pub(crate) fn open<S>(
        &mut self,
        outbound: &mut Outbound<S>,
        count: usize,
        mut make_state: impl FnMut(u32) -> S,
    ) {
        let count = if self.board.is_closing() { 0 } else { count };
        for _ in 0..count.min(self.left()) {
            let number = self.next;
            self.next += self.step;
            match self.target.request(number) {
                Ok(request) => outbound.connect(request, make_state(number as u32)),
                Err(failure) => self.board.fail(failure),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::{Greeting, Trust};

    #[test]
    fn a_server_that_refuses_everybody_is_not_asked_for_ever() {
        let target = Arc::new(
            Target::parse("ws://127.0.0.1:9/", Trust::Nothing, Greeting::default()).unwrap(),
        );
        let shard = ShardInfo { shard: 1, shards: 2, core: 0 };
        let mut opener = Opener::new(&target, &Scoreboard::new(), shard, 10_000);
        let open = |opener: &mut Opener| opener.open(&mut Outbound::default(), 1, |_| ());
        for _ in 1..HANDSHAKES_MAX {
            open(&mut opener);
            assert_eq!(opener.note_refused(), 0);
        }
        opener.note_opened();
        for _ in 1..HANDSHAKES_MAX {
            assert_eq!(opener.note_refused(), 0);
        }
        let left = opener.left();
        assert_eq!((left, opener.note_refused(), opener.left()), (4_873, left, 0));
    }

    #[test]
    fn shards_share_all_numbers_among_them_and_none_twice() {
        let target = Arc::new(
            Target::parse("ws://127.0.0.1:9/", Trust::Nothing, Greeting::default()).unwrap(),
        );
        let board = Scoreboard::new();
        for (connections, shards) in [(0, 1), (1, 3), (10, 3), (9, 3), (100, 1)] {
            let mut numbers = Vec::new();
            for shard in 0..shards {
                let shard = ShardInfo { shard, shards, core: 0 };
                let mut opener = Opener::new(&target, &board, shard, connections);
                let (share, before) = (opener.left(), numbers.len());
                while opener.left() > 0 {
                    opener.open(&mut Outbound::default(), 2, |number| numbers.push(number));
                }
                assert_eq!(numbers.len() - before, share);
            }
            numbers.sort_unstable();
            assert_eq!(numbers, (0..connections as u32).collect::<Vec<_>>());
        }
    }
}
