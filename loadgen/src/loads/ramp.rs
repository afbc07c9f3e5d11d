//! How fast a shard's connections are opened where that was asked for: connection N of all is due
//! N divided by the rate after the beginning, whichever shard opens it. It opens none itself. A shard
//! opens connections in callbacks only, so when one is due an open one is pinged: its Pong is such a
//! callback.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use ringsock::Peer;

use super::pacing::{GLANCE_NS, NEVER_NS, keep_pace};
use super::place::Place;

/// Time between two Pings at least: what falls due meanwhile is opened together.
const PING_NS_MIN: u64 = 2_000_000;

/// The ramp of one shard.
#[derive(Clone, Debug)]
pub(super) struct Ramp {
    /// Connections a second, of all shards.
    rate: usize,
    bell: Rc<Bell>,
}

/// What the shard's task shares with its connections.
#[derive(Debug)]
struct Bell {
    /// When the next connection is due; `NEVER_NS` when there is none.
    due_ns: Cell<u64>,
    /// Who can be pinged.
    peers: RefCell<Vec<Peer>>,
}

impl Ramp {
    pub(super) fn new(rate: usize) -> Self {
        let (due_ns, peers) = (Cell::new(0), RefCell::default());
        Self { rate, bell: Rc::new(Bell { due_ns, peers }) }
    }

    /// Has the shard's connections looked after from now on.
    pub(super) fn begin(&self, place: &Rc<Place>) {
        let (bell, place) = (Rc::clone(&self.bell), Rc::clone(place));
        ringsock::spawn(keep_pace(Rc::clone(&place), move || bell.ring(place.board.nanoseconds())));
    }

    /// Whether connection `number` is due so long after the beginning.
    pub(super) fn is_due(&self, number: usize, passed_ns: u64) -> bool {
        self.due_ns(number) <= passed_ns
    }

    /// Connection `number` is the next one, if there is another.
    pub(super) fn wait_for(&self, number: Option<usize>, began_ns: u64) {
        let due_ns = number.map_or(NEVER_NS, |number| began_ns + self.due_ns(number));
        self.bell.due_ns.set(due_ns);
    }

    /// A connection that can be pinged.
    pub(super) fn add(&self, peer: Peer) {
        self.bell.peers.borrow_mut().push(peer);
    }

    /// Whether anybody can be pinged.
    pub(super) fn can_ring(&self) -> bool {
        self.bell.peer().is_some()
    }

    fn due_ns(&self, number: usize) -> u64 {
        (number as f64 / self.rate as f64 * 1e9) as u64
    }
}

impl Bell {
    /// Pings if a connection is due; nanoseconds until there is something to do again.
    fn ring(&self, now_ns: u64) -> u64 {
        let due_ns = self.due_ns.get();
        if due_ns == NEVER_NS {
            return NEVER_NS;
        }
        if due_ns <= now_ns
            && let Some(peer) = self.peer()
        {
            // One that goes just now is followed by another.
            let _ = peer.ping(b"");
        }
        due_ns.saturating_sub(now_ns).clamp(PING_NS_MIN, GLANCE_NS)
    }

    /// The last one that is still there.
    fn peer(&self) -> Option<Peer> {
        let mut peers = self.peers.borrow_mut();
        while peers.last().is_some_and(|peer| !peer.is_alive()) {
            peers.pop();
        }
        peers.last().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_due_one_after_the_other_at_the_rate() {
        let ramp = Ramp::new(100);
        assert!(ramp.is_due(0, 0));
        assert!(!ramp.is_due(7, 69_999_999) && ramp.is_due(7, 70_000_000));
    }

    #[test]
    fn there_is_a_pause_until_the_next_is_due_and_an_end_when_there_is_none() {
        let ramp = Ramp::new(250);
        ramp.wait_for(Some(1), 1_000);
        assert_eq!(ramp.bell.ring(1_000), 4_000_000);
        assert_eq!(ramp.bell.ring(4_001_000), PING_NS_MIN, "nobody is there to be pinged");
        ramp.wait_for(Some(1000), 1_000);
        assert_eq!(ramp.bell.ring(1_000), GLANCE_NS, "the run may end meanwhile");
        ramp.wait_for(None, 1_000);
        assert_eq!(ramp.bell.ring(u64::MAX), NEVER_NS);
        assert!(!ramp.can_ring());
    }
}
