//! The publishers of one shard in an open loop: messages are published when they are due, by each
//! in its turn, whatever has come back. Who receives them is not known here.

use std::sync::Arc;

use ringsock::Peer;

use super::audience::FanoutPlan;
use super::channel::Published;
use super::pacing::{GLANCE_NS, Turn};
use super::place::Place;
use crate::composer::Composer;
use crate::schedule::{Arrivals, Schedule, Share};

/// One shard's publishers.
#[derive(Debug)]
pub(super) struct Publishers {
    plan: Arc<FanoutPlan>,
    composer: Composer,
    own: Vec<(usize, Peer)>,
    schedule: Option<Schedule>,
    turn: usize,
    has_ended: bool,
}

impl Publishers {
    pub(super) fn new(plan: &Arc<FanoutPlan>) -> Self {
        let (plan, composer) = (Arc::clone(plan), plan.channel.content().composer());
        Self { plan, composer, own: Vec::new(), schedule: None, turn: 0, has_ended: false }
    }

    /// A publisher's connection is open.
    pub(super) fn join(&mut self, publisher: usize, peer: Peer) {
        self.own.push((publisher, peer));
    }

    /// Publishes what is due by now, or a part of it; nanoseconds until there is something to do
    /// again.
    pub(super) fn publish_due(&mut self, place: &Place) -> u64 {
        let board = &place.board;
        let (Some(began_ns), Some((rate, arrivals))) = (board.schedule_began_ns(), self.plan.rate)
        else {
            return GLANCE_NS / 5;
        };
        if !board.is_catching_up() {
            self.abandon(place);
            return GLANCE_NS;
        }
        if self.schedule.is_none() {
            self.schedule = Some(self.schedule_from(began_ns, rate, arrivals, place));
        }
        let mut now_ns = board.nanoseconds();
        let mut turn = Turn::new(now_ns);
        loop {
            match self.due(now_ns) {
                Err(next_ns) if next_ns >= board.counted_end_ns() => {
                    self.end(place);
                    return GLANCE_NS;
                }
                Err(next_ns) => return (next_ns - now_ns).min(GLANCE_NS),
                Ok(due_ns) if due_ns >= board.counted_end_ns() => {
                    self.end(place);
                    return GLANCE_NS;
                }
                Ok(due_ns) => self.publish(due_ns, now_ns, place),
            }
            now_ns = board.nanoseconds();
            if !turn.goes_on(now_ns) {
                return 0;
            }
        }
    }

    fn schedule_from(
        &self,
        began_ns: u64,
        rate: f64,
        arrivals: Arrivals,
        place: &Place,
    ) -> Schedule {
        let share = Share {
            shard: place.shard.shard,
            shards: place.shard.shards,
            senders: self.own.len(),
            senders_of_all: self.plan.channel.manned(),
        };
        Schedule::new(rate, arrivals, began_ns, share)
    }

    /// When the message is due that is to be published now, or when the next one will be.
    fn due(&mut self, now_ns: u64) -> Result<u64, u64> {
        let schedule = self.schedule.as_mut().ok_or(u64::MAX)?;
        schedule.due(now_ns).ok_or(schedule.next_ns())
    }

    fn publish(&mut self, due_ns: u64, now_ns: u64, place: &Place) {
        let (publisher, peer) = self.own[self.turn];
        self.turn = (self.turn + 1) % self.own.len();
        let times = Published { due_ns, published_ns: now_ns };
        let channel = &self.plan.channel;
        let published = channel.publish(publisher, Some(peer), times, &mut self.composer);
        let Some(payload_bytes) = published else {
            return self.leave_unsent(due_ns, place);
        };
        place.tally.note_sent(payload_bytes);
        if place.board.is_counted(due_ns) {
            place.tally.readings().record_lag(now_ns.saturating_sub(due_ns));
        }
    }

    /// Nobody will receive a message that was due.
    fn leave_unsent(&self, due_ns: u64, place: &Place) {
        place.tally.unsent.add(1);
        let audience = self.plan.audience(place.board.totals().opened);
        place.leave_unanswered([(due_ns, audience)].into_iter());
    }

    /// Nothing more falls due.
    fn end(&mut self, place: &Place) {
        if !std::mem::replace(&mut self.has_ended, true) {
            place.tally.exhausted.add(1);
        }
    }

    /// Nothing more is to be published, whatever was due.
    pub(super) fn abandon(&mut self, place: &Place) {
        let end_ns = place.board.counted_end_ns();
        while !self.has_ended
            && let Ok(due_ns) = self.due(end_ns.saturating_sub(1))
        {
            self.leave_unsent(due_ns, place);
        }
        self.end(place);
    }
}
