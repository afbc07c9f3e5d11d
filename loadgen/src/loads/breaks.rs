//! The pauses between the messages of connections that come and go: who pauses, and what is sent when
//! the pause is over. When a run ends, so do all pauses. What else happens on a connection is not its
//! business.

use std::collections::HashMap;
use std::sync::Arc;

use ringsock::{Outgoing, Peer};

use super::cycles::CyclePlan;
use super::pacing::GLANCE_NS;
use super::place::Place;
use crate::composer::Composer;
use crate::think::{Pauses, Think};

/// One shard's pauses.
#[derive(Debug)]
pub(super) struct Breaks {
    pauses: Pauses,
    plan: Arc<CyclePlan>,
    composer: Composer,
    /// By the number of the connection.
    of: HashMap<usize, Break>,
}

#[derive(Debug)]
struct Break {
    peer: Peer,
    /// The message that is next.
    sequence: u64,
    began_ns: u64,
    ended_ns: u64,
}

impl Breaks {
    pub(super) fn new(think: Think, plan: &Arc<CyclePlan>, shard: usize) -> Self {
        let (plan, composer) = (Arc::clone(plan), plan.content.composer());
        Self { pauses: Pauses::new(think, shard), plan, composer, of: HashMap::new() }
    }

    /// A connection pauses from now on.
    pub(super) fn begin(&mut self, number: u32, peer: Peer, sequence: u64, now_ns: u64) {
        self.pauses.begin(number as usize, now_ns);
        let pause = Break { peer, sequence, began_ns: now_ns, ended_ns: now_ns };
        self.of.insert(number as usize, pause);
    }

    /// How long the last pause of a connection was, if it had one.
    pub(super) fn take_ns(&mut self, number: u32) -> u64 {
        let pause = self.of.remove(&(number as usize));
        pause.map_or(0, |pause| pause.ended_ns - pause.began_ns)
    }

    /// Sends what is due by now; nanoseconds until there is something to do again.
    pub(super) fn send_due(&mut self, place: &Place) -> u64 {
        let now_ns = place.board.nanoseconds();
        let until_ns = if place.board.is_sending() { now_ns } else { u64::MAX };
        while let Some((due_ns, number)) = self.pauses.end(until_ns) {
            // One that has ended meanwhile has no pause any more.
            let Some(pause) = self.of.get_mut(&number) else { continue };
            pause.ended_ns = due_ns.min(now_ns);
            let letter =
                self.composer.letter(&self.plan.content.pattern, number as u32, pause.sequence);
            let payload_bytes = letter.bytes().len();
            if pause.peer.send(letter).is_ok() {
                place.tally.note_sent(payload_bytes);
            }
        }
        let next_ns = self.pauses.next_ns().unwrap_or(u64::MAX);
        next_ns.saturating_sub(now_ns).min(GLANCE_NS / 5)
    }
}
