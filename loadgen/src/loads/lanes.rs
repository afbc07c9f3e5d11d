//! What one shard sends in an open loop, and when: its connections as lanes, to which messages that
//! are due go in turns. A lane whose peer owes it too many answers keeps them waiting, and the time
//! they wait counts as latency, since they were due.

use std::collections::VecDeque;
use std::sync::Arc;

use ringsock::server::ShardInfo;
use ringsock::{Outgoing, Peer};

use super::clock::{Clock, Pace, Tick};
use super::outstanding::{Answer, Outstanding};
use super::pacing::{GLANCE_NS, Turn};
use super::place::Place;
use crate::composer::Composer;
use crate::content::Content;
use crate::schedule::Share;
use crate::target::Target;

/// Messages of one shard that may wait for a lane; more are not sent at all, and told.
const WAITING_MAX: usize = 1 << 20;

/// What every connection of an open loop does.
#[derive(Debug)]
pub(crate) struct PacedPlan {
    pub(crate) target: Arc<Target>,
    pub(crate) connections: usize,
    /// Connections opened a second, if that was asked for.
    pub(crate) ramp: Option<usize>,
    pub(crate) content: Content,
    pub(crate) pace: Pace,
    /// Answers that a connection's peer may owe before messages wait.
    pub(crate) under_way_max: usize,
}

/// When a message was to be sent and when it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) due_ns: u64,
    pub(crate) sent_ns: u64,
}

#[derive(Debug)]
struct Lane {
    number: u32,
    peer: Peer,
    is_open: bool,
    outstanding: Outstanding<Times>,
    /// When those were due that wait for a place.
    waiting: VecDeque<u64>,
}

/// One shard's lanes.
#[derive(Debug)]
pub(crate) struct Lanes {
    plan: Arc<PacedPlan>,
    shard: ShardInfo,
    composer: Composer,
    clock: Clock,
    lanes: Vec<Lane>,
    /// The lane that the next message goes to.
    turn: usize,
    waiting: usize,
}

impl Lanes {
    pub(crate) fn new(plan: &Arc<PacedPlan>, shard: ShardInfo) -> Self {
        let composer = plan.content.composer();
        let (plan, clock, lanes) = (Arc::clone(plan), Clock::Unset, Vec::new());
        Self { plan, shard, composer, clock, lanes, turn: 0, waiting: 0 }
    }

    /// A connection is open; the number of its lane.
    pub(crate) fn join(&mut self, peer: Peer, number: u32) -> usize {
        let (outstanding, waiting) = (Outstanding::default(), VecDeque::new());
        self.lanes.push(Lane { number, peer, is_open: true, outstanding, waiting });
        self.lanes.len() - 1
    }

    /// A connection has ended; what it owes and what waits for it will not come.
    pub(crate) fn leave(&mut self, lane: usize, place: &Place) {
        let lane = &mut self.lanes[lane];
        lane.is_open = false;
        let owed = lane.outstanding.unanswered().map(|(times, count)| (times.due_ns, count));
        place.leave_unanswered(owed.clone());
        place.tally.forfeited.add(owed.map(|(_, count)| count).sum());
        let waiting = std::mem::take(&mut lane.waiting);
        self.waiting -= waiting.len();
        waiting.into_iter().for_each(|due_ns| place.leave_unsent(due_ns));
    }

    /// Sends what is due by now, or a part of it; nanoseconds until there is something to do again.
    pub(crate) fn send_due(&mut self, place: &Place) -> u64 {
        let Some(began_ns) = place.board.schedule_began_ns() else { return GLANCE_NS / 5 };
        if !place.board.is_catching_up() {
            self.abandon(place);
            return GLANCE_NS;
        }
        if matches!(self.clock, Clock::Unset) {
            let share = Share {
                shard: self.shard.shard,
                shards: self.shard.shards,
                senders: self.lanes.len(),
                senders_of_all: place.board.totals().opened as usize,
            };
            self.clock = Clock::new(self.plan.pace, began_ns, share, 0..self.lanes.len());
        }
        let mut now_ns = place.board.nanoseconds();
        let mut turn = Turn::new(now_ns);
        loop {
            let end_ns = place.board.counted_end_ns();
            match self.clock.tick(now_ns) {
                Tick::Due(due_ns, _) | Tick::At(due_ns) if due_ns >= end_ns => {
                    self.end(place);
                    return GLANCE_NS;
                }
                Tick::Due(due_ns, lane) => self.fall_due(lane, due_ns, now_ns, place),
                Tick::At(due_ns) => return (due_ns - now_ns).min(GLANCE_NS),
                Tick::Unknown if now_ns >= end_ns => {
                    self.end(place);
                    return GLANCE_NS;
                }
                Tick::Unknown => return GLANCE_NS / 5,
            }
            now_ns = place.board.nanoseconds();
            if !turn.goes_on(now_ns) {
                return 0;
            }
        }
    }

    /// Nothing more falls due.
    fn end(&mut self, place: &Place) {
        if !matches!(self.clock, Clock::Ended) {
            self.clock = Clock::Ended;
            place.tally.exhausted.add(1);
        }
    }

    /// Nothing more is to be sent, whatever was due.
    pub(crate) fn abandon(&mut self, place: &Place) {
        for lane in &mut self.lanes {
            lane.waiting.drain(..).for_each(|due_ns| place.leave_unsent(due_ns));
        }
        self.waiting = 0;
        let end_ns = place.board.counted_end_ns();
        if let Clock::Rate(schedule) = &mut self.clock {
            while let Some(due_ns) = schedule.due(end_ns.saturating_sub(1)) {
                place.tally.due.add(1);
                place.leave_unsent(due_ns);
            }
        }
        self.end(place);
    }

    /// A message is due, on this lane or on the one whose turn it is.
    fn fall_due(&mut self, lane: Option<usize>, due_ns: u64, now_ns: u64, place: &Place) {
        let index = lane.unwrap_or(self.turn);
        self.turn = (index + 1) % self.lanes.len().max(1);
        place.tally.due.add(1);
        let Some(lane) = self.lanes.get_mut(index).filter(|lane| lane.is_open) else {
            return place.leave_unsent(due_ns);
        };
        if lane.waiting.is_empty() && lane.outstanding.under_way() < self.plan.under_way_max {
            return self.send(index, due_ns, now_ns, place);
        }
        if self.waiting >= WAITING_MAX {
            return place.leave_unsent(due_ns);
        }
        lane.waiting.push_back(due_ns);
        self.waiting += 1;
    }

    fn send(&mut self, lane: usize, due_ns: u64, now_ns: u64, place: &Place) {
        let lane = &mut self.lanes[lane];
        let sequence = lane.outstanding.next();
        lane.outstanding.push(Times { due_ns, sent_ns: now_ns });
        let letter = self.composer.letter(&self.plan.content.pattern, lane.number, sequence);
        place.tally.note_sent(letter.bytes().len());
        // One that has gone is reported by its end.
        let _ = lane.peer.send(letter);
        if place.board.is_counted(due_ns) {
            place.tally.readings().record_lag(now_ns.saturating_sub(due_ns));
        }
    }

    /// A message has come to a lane: which answer it is. What waited for the place is sent.
    pub(crate) fn answer(
        &mut self,
        lane: usize,
        payload: &[u8],
        now_ns: u64,
        place: &Place,
    ) -> Answer<Times> {
        let outstanding = &mut self.lanes[lane].outstanding;
        let number = self.plan.content.number_in(payload, outstanding.oldest());
        let answer = outstanding.answer(number);
        if matches!(answer, Answer::First { .. } | Answer::Garbled { .. }) {
            self.follow(lane, now_ns, place);
        }
        answer
    }

    /// Gives up what a lane was sent before a moment and has not answered.
    pub(crate) fn give_up(&mut self, lane: usize, before_ns: u64, now_ns: u64, place: &Place) {
        let outstanding = &mut self.lanes[lane].outstanding;
        let under_way = outstanding.under_way();
        outstanding.give_up(|times| times.sent_ns < before_ns);
        if outstanding.under_way() < under_way {
            self.follow(lane, now_ns, place);
        }
    }

    /// A place of a lane has become free.
    fn follow(&mut self, lane: usize, now_ns: u64, place: &Place) {
        self.send_waiting(lane, now_ns, place);
        if let Clock::Think(pauses) = &mut self.clock
            && self.lanes[lane].is_open
        {
            pauses.begin(lane, now_ns);
        }
    }

    fn send_waiting(&mut self, lane: usize, now_ns: u64, place: &Place) {
        while place.board.is_catching_up()
            && self.lanes[lane].outstanding.under_way() < self.plan.under_way_max
            && let Some(due_ns) = self.lanes[lane].waiting.pop_front()
        {
            self.waiting -= 1;
            self.send(lane, due_ns, now_ns, place);
        }
    }
}
