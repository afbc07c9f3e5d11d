//! The idle load of one shard: connections that echo one message and then stay. How fast they may
//! be opened is said by the main thread; nothing here looks at a clock to wait.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ringsock::protocol::handshake::Status;
use ringsock::{CloseInfo, Conn, Handler, Message, Outbound, RemotePeer, Request, Upgrade};

use super::opener::{HANDSHAKES_MAX, Opener};
use super::place::Place;
use crate::pattern::{Pattern, Verify};
use crate::target::Target;

/// What every connection does, and how many there may be.
#[derive(Debug)]
pub(crate) struct IdlePlan {
    pub(crate) target: Arc<Target>,
    pub(crate) connections: usize,
    pub(crate) pattern: Pattern,
    pub(crate) verify: Verify,
    /// Connections that may have been opened by now, of all shards.
    pub(crate) allowed: AtomicUsize,
    /// One connection of each shard.
    pub(crate) pacers: Mutex<Vec<RemotePeer>>,
}

impl IdlePlan {
    /// Lets more connections be opened. A shard looks at the number when something happens on its
    /// connections, so one of them is made to echo a message again.
    pub(crate) fn allow(&self, connections: usize) {
        self.allowed.store(connections.min(self.connections), Ordering::Relaxed);
        let pacers = self.pacers.lock().unwrap_or_else(PoisonError::into_inner);
        for pacer in pacers.iter() {
            self.pattern.send_to(pacer, 0, 0);
        }
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Settler {
    number: u32,
    began_ns: u64,
    /// Whether its message has come back.
    settled: bool,
    /// Whether it is the one whose echoes pace the shard.
    pacer: bool,
}

/// One shard's connections.
pub(crate) struct Settlers {
    plan: Arc<IdlePlan>,
    place: Place,
    opener: Opener,
    share: usize,
    /// Those whose message has come back.
    arrived: usize,
}

impl Settlers {
    pub(crate) fn new(plan: &Arc<IdlePlan>, place: Place) -> Self {
        let opener = Opener::new(&plan.target, &place.board, place.shard, plan.connections);
        let share = opener.left();
        Self { plan: Arc::clone(plan), place, opener, share, arrived: 0 }
    }

    /// Opens as many as are allowed and are not yet under way.
    fn open(&mut self, outbound: &mut Outbound<Settler>) {
        let started = self.share - self.opener.left();
        let under_way = started - self.arrived;
        let allowed = self.plan.allowed.load(Ordering::Relaxed);
        // The share of a shard, rounded up so that none has to wait for the others.
        let allowed = allowed.div_ceil(self.place.shard.shards);
        let count = allowed.saturating_sub(started).min(HANDSHAKES_MAX.saturating_sub(under_way));
        let began_ns = self.place.board.nanoseconds();
        let step = self.place.shard.shards as u32;
        self.opener.open(outbound, count, |number| Settler {
            number,
            began_ns,
            settled: false,
            pacer: number < step,
        });
    }
}

impl Handler for Settlers {
    type State = Settler;

    fn on_start(&mut self, outbound: &mut Outbound<Settler>) {
        self.open(outbound);
    }

    fn on_upgrade(&mut self, _: &Request<'_>) -> Upgrade<Settler> {
        Upgrade::reject(Status::NOT_FOUND, "nothing is served here")
    }

    fn on_open(&mut self, conn: &mut Conn<'_, Settler>) {
        self.place.tally.opened.add(1);
        let settler = conn.state();
        let number = settler.number;
        if settler.pacer {
            let mut pacers = self.plan.pacers.lock().unwrap_or_else(PoisonError::into_inner);
            pacers.push(conn.peer().remote());
        }
        // When it cannot be queued, the connection is ending, which is counted there.
        let _ = self.plan.pattern.send(conn, number, 0);
        self.place.tally.sent.add(1);
    }

    fn on_message(&mut self, conn: &mut Conn<'_, Settler>, message: Message<'_>) {
        let settler = conn.state_mut();
        let number = settler.number;
        if !std::mem::replace(&mut settler.settled, true) {
            let began_ns = settler.began_ns;
            self.arrived += 1;
            self.place.tally.received.add(1);
            self.place.tally.record(self.place.board.nanoseconds().saturating_sub(began_ns));
            self.place.judge(&self.plan.pattern, self.plan.verify, (number, 0), &message);
        } else if !settler.pacer {
            self.place
                .fault(|| format!("connection {number}: a message came that answers nothing"));
        }
        self.open(conn.outbound());
    }

    fn on_close(&mut self, conn: &mut Conn<'_, Settler>, info: CloseInfo<'_>) {
        self.place.lose(conn.state().number, info);
    }

    fn on_connect_failed(&mut self, _: &mut Outbound<Settler>, _: Settler, reason: &str) {
        self.place.fail_to_open(&self.plan.target, reason);
    }
}
