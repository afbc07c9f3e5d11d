//! The publishers of one shard that keep a pace: messages are published when they are due, by each
//! in its turn whatever has come back, or by each after its pause. Who receives them is not known here.

use std::sync::Arc;

use ringsock::Peer;

use super::audience::FanoutPlan;
use super::channel::Published;
use super::clock::{Clock, Tick};
use super::pacing::{GLANCE_NS, Turn};
use super::place::Place;
use crate::composer::Composer;
use crate::schedule::Share;

/// One shard's publishers.
#[derive(Debug)]
pub(super) struct Publishers {
    plan: Arc<FanoutPlan>,
    composer: Composer,
    own: Vec<(usize, Peer)>,
    clock: Clock,
    turn: usize,
}

impl Publishers {
    pub(super) fn new(plan: &Arc<FanoutPlan>) -> Self {
        let (plan, composer) = (Arc::clone(plan), plan.channel.content().composer());
        Self { plan, composer, own: Vec::new(), clock: Clock::Unset, turn: 0 }
    }

    /// A publisher's connection is open.
    pub(super) fn join(&mut self, publisher: usize, peer: Peer) {
        self.own.push((publisher, peer));
    }

    /// Publishes what is due by now, or a part of it; nanoseconds until there is something to do
    /// again.
    pub(super) fn publish_due(&mut self, place: &Place) -> u64 {
        let board = &place.board;
        if !board.is_catching_up() {
            self.abandon(place);
            return GLANCE_NS;
        }
        if !self.is_ready(place) {
            return GLANCE_NS / 5;
        }
        let mut now_ns = board.nanoseconds();
        let mut turn = Turn::new(now_ns);
        loop {
            let end_ns = board.counted_end_ns();
            match self.clock.tick(now_ns) {
                Tick::Due(due_ns, _) | Tick::At(due_ns) if due_ns >= end_ns => {
                    self.end(place);
                    return GLANCE_NS;
                }
                Tick::Due(due_ns, publisher) => self.publish(publisher, due_ns, now_ns, place),
                Tick::At(due_ns) => return (due_ns - now_ns).min(GLANCE_NS),
                Tick::Unknown if now_ns >= end_ns => {
                    self.end(place);
                    return GLANCE_NS;
                }
                Tick::Unknown => return GLANCE_NS / 5,
            }
            now_ns = board.nanoseconds();
            if !turn.goes_on(now_ns) {
                return 0;
            }
        }
    }

    /// Everybody has what a publisher has published, which pauses before it publishes again: any
    /// one of them, for it is seen here only now.
    pub(super) fn pause(&mut self, publisher: usize, now_ns: u64, place: &Place) {
        if self.is_ready(place)
            && let Clock::Think(pauses) = &mut self.clock
        {
            pauses.begin(publisher, now_ns);
        }
    }

    /// Sets the clock once the run has begun; whether it has.
    fn is_ready(&mut self, place: &Place) -> bool {
        if matches!(self.clock, Clock::Unset)
            && let (Some(began_ns), Some(pace)) = (place.board.schedule_began_ns(), self.plan.pace)
        {
            let share = Share {
                shard: place.shard.shard,
                shards: place.shard.shards,
                senders: self.own.len(),
                senders_of_all: self.plan.channel.manned(),
            };
            let own = self.own.iter().map(|(publisher, _)| *publisher);
            self.clock = Clock::new(pace, began_ns, share, own);
        }
        !matches!(self.clock, Clock::Unset)
    }

    /// One publishes: this one, or whose turn it is.
    fn publish(&mut self, publisher: Option<usize>, due_ns: u64, now_ns: u64, place: &Place) {
        let (publisher, near) = match publisher {
            Some(publisher) => {
                let own = self.own.iter().find(|(own, _)| *own == publisher);
                (publisher, own.map(|(_, peer)| *peer))
            }
            None => {
                let (publisher, peer) = self.own[self.turn];
                self.turn = (self.turn + 1) % self.own.len();
                (publisher, Some(peer))
            }
        };
        let times = Published { due_ns, published_ns: now_ns };
        let channel = &self.plan.channel;
        let published = channel.publish(publisher, near, times, &mut self.composer);
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
        if !matches!(self.clock, Clock::Ended) {
            self.clock = Clock::Ended;
            place.tally.exhausted.add(1);
        }
    }

    /// Nothing more is to be published, whatever was due.
    pub(super) fn abandon(&mut self, place: &Place) {
        let end_ns = place.board.counted_end_ns();
        while let Clock::Rate(schedule) = &mut self.clock
            && let Some(due_ns) = schedule.due(end_ns.saturating_sub(1))
        {
            self.leave_unsent(due_ns, place);
        }
        self.end(place);
    }
}
