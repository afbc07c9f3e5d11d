//! Opens one shard's share of the connections, a bounded number of handshakes at a time so that
//! no server's backlog overflows, and no faster than the ramp says if there is one. It keeps no
//! connection.

use std::rc::Rc;
use std::sync::Arc;

use ringsock::Peer;
use ringsock::client::Outbound;
use ringsock::server::ShardInfo;

use super::place::Place;
use super::ramp::Ramp;
use crate::scoreboard::Scoreboard;
use crate::target::Target;

/// Handshakes of one shard that are under way at once.
const HANDSHAKES_MAX: usize = 128;

/// The connections that a shard has still to open.
#[derive(Debug)]
pub(crate) struct Opener {
    target: Arc<Target>,
    board: Arc<Scoreboard>,
    next: usize,
    step: usize,
    end: usize,
    /// Asked for, and neither open nor refused yet.
    under_way: usize,
    refused_in_a_row: usize,
    ramp: Option<Ramp>,
    began_ns: u64,
}

impl Opener {
    /// The share of this shard: the numbers below `connections`, in steps of the number
    /// of shards. With a ramp so many are opened a second, by all shards together.
    pub(crate) fn new(
        target: &Arc<Target>,
        board: &Arc<Scoreboard>,
        shard: ShardInfo,
        (connections, ramp): (usize, Option<usize>),
    ) -> Self {
        let (target, board) = (Arc::clone(target), Arc::clone(board));
        let (next, step, end) = (shard.shard, shard.shards.max(1), connections);
        let ramp = ramp.map(Ramp::new);
        Self {
            target,
            board,
            next,
            step,
            end,
            under_way: 0,
            refused_in_a_row: 0,
            ramp,
            began_ns: 0,
        }
    }

    /// The shard has started: a ramp begins now.
    pub(crate) fn begin(&mut self, place: &Rc<Place>) {
        self.began_ns = self.board.nanoseconds();
        if let Some(ramp) = &self.ramp {
            ramp.begin(place);
        }
    }

    /// How many are left.
    pub(crate) fn left(&self) -> usize {
        self.end.saturating_sub(self.next).div_ceil(self.step)
    }

    /// A connection has been opened, and another may be.
    pub(crate) fn note_opened(&mut self, peer: Peer) {
        if let Some(ramp) = &self.ramp
            && self.left() > 0
        {
            ramp.add(peer);
        }
        self.refused_in_a_row = 0;
        self.note_ended();
    }

    /// A connection that was under way has ended.
    pub(crate) fn note_ended(&mut self) {
        self.under_way -= 1;
    }

    /// A connection has been refused. After as many in a row as may be under way nobody goes on;
    /// how many are left out then.
    pub(crate) fn note_refused(&mut self) -> usize {
        self.note_ended();
        self.refused_in_a_row += 1;
        let left = if self.refused_in_a_row < HANDSHAKES_MAX { 0 } else { self.left() };
        self.next += left * self.step;
        left
    }

    /// Opens as many as may be opened now; `make_state` is told each one's number.
    pub(crate) fn open<S>(
        &mut self,
        outbound: &mut Outbound<S>,
        mut make_state: impl FnMut(u32) -> S,
    ) {
        while self.may_open() {
            let number = self.next;
            self.next += self.step;
            match self.target.request(number) {
                Ok(request) => {
                    self.under_way += 1;
                    outbound.connect(request, make_state(number as u32));
                }
                Err(failure) => self.board.fail(failure),
            }
        }
        if let Some(ramp) = &self.ramp {
            ramp.wait_for((self.left() > 0).then_some(self.next), self.began_ns);
        }
    }

    fn may_open(&self) -> bool {
        if self.left() == 0 || self.under_way >= HANDSHAKES_MAX || self.board.is_closing() {
            return false;
        }
        let Some(ramp) = &self.ramp else { return true };
        let passed_ns = self.board.nanoseconds().saturating_sub(self.began_ns);
        // Where there is nobody whose callback could come, nothing would ever be opened later.
        ramp.is_due(self.next, passed_ns) || (self.under_way == 0 && !ramp.can_ring())
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
        let mut opener = Opener::new(&target, &Scoreboard::new(), shard, (10_000, None));
        let open = |opener: &mut Opener| opener.open(&mut Outbound::default(), |_| ());
        open(&mut opener);
        for _ in 1..HANDSHAKES_MAX {
            assert_eq!(opener.note_refused(), 0);
            open(&mut opener);
        }
        let left = opener.left();
        assert_eq!((left, opener.note_refused(), opener.left()), (4_745, left, 0));
    }

    #[test]
    fn with_a_ramp_nobody_is_opened_early_and_one_is_while_there_is_no_other() {
        let target = Arc::new(
            Target::parse("ws://127.0.0.1:9/", Trust::Nothing, Greeting::default()).unwrap(),
        );
        let shard = ShardInfo { shard: 1, shards: 2, core: 0 };
        let mut opener = Opener::new(&target, &Scoreboard::new(), shard, (100, Some(1)));
        let mut numbers = Vec::new();
        let mut open = |opener: &mut Opener| {
            opener.open(&mut Outbound::default(), |number| numbers.push(number));
        };
        open(&mut opener);
        open(&mut opener);
        assert_eq!(opener.note_refused(), 0);
        open(&mut opener);
        assert_eq!(numbers, [1, 3], "the first, and another when that was refused");
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
                let mut opener = Opener::new(&target, &board, shard, (connections, None));
                let (share, before) = (opener.left(), numbers.len());
                while opener.left() > 0 {
                    opener.open(&mut Outbound::default(), |number| numbers.push(number));
                }
                assert_eq!(numbers.len() - before, share);
            }
            numbers.sort_unstable();
            assert_eq!(numbers, (0..connections as u32).collect::<Vec<_>>());
        }
    }
}
