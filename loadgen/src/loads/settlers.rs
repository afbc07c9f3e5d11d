//! The idle load of one shard: connections that echo one message and then stay, and are pinged now
//! and then if that is wanted. How long they stay is said by the main thread.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use ringsock::client::Outbound;
use ringsock::http::Request;
use ringsock::protocol::handshake::{Negotiated, Status};
use ringsock::{CloseInfo, Conn, Handler, Message, Outgoing, Peer, Upgrade};

use super::opener::Opener;
use super::pacing::{GLANCE_NS, Turn, keep_pace};
use super::place::Place;
use crate::composer::Composer;
use crate::content::Content;
use crate::schedule::{Arrivals, Schedule, Share};
use crate::target::Target;

/// What every connection does, and how many there are.
#[derive(Debug)]
pub(crate) struct IdlePlan {
    pub(crate) target: Arc<Target>,
    pub(crate) connections: usize,
    pub(crate) content: Content,
    /// Connections opened a second, if that was asked for.
    pub(crate) ramp: Option<usize>,
    /// Pings a second over all connections, while they are kept open.
    pub(crate) ping_rate: Option<f64>,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Settler {
    number: u32,
    began_ns: u64,
    /// Whether its message has come back.
    settled: bool,
}

/// One shard's connections.
pub(crate) struct Settlers {
    plan: Arc<IdlePlan>,
    place: Rc<Place>,
    composer: Composer,
    /// The connections to be pinged.
    peers: Rc<RefCell<Vec<Peer>>>,
    opener: Opener,
}

impl Settlers {
    pub(crate) fn new(plan: &Arc<IdlePlan>, place: Place) -> Self {
        let size = (plan.connections, plan.ramp);
        let opener = Opener::new(&plan.target, &place.board, place.shard, size);
        let composer = plan.content.composer();
        let (plan, place) = (Arc::clone(plan), Rc::new(place));
        Self { plan, place, composer, peers: Rc::default(), opener }
    }

    /// Opens as many as may be opened. One counts as under way until it has its echo.
    fn open(&mut self, outbound: &mut Outbound<Settler>) {
        let began_ns = self.place.board.nanoseconds();
        self.opener.open(outbound, |number| Settler { number, began_ns, settled: false });
    }
}

/// The Pings of one shard, to its connections in turns, from when the run says so and whatever
/// comes back. A Ping carries the time at which it was due.
struct Pinger {
    peers: Rc<RefCell<Vec<Peer>>>,
    rate: f64,
    schedule: Option<Schedule>,
    turn: usize,
}

impl Pinger {
    /// Sends what is due; nanoseconds until there is something to do again.
    fn ping_due(&mut self, place: &Place) -> u64 {
        let board = &place.board;
        let Some(began_ns) = board.schedule_began_ns().filter(|_| board.is_sending()) else {
            return GLANCE_NS;
        };
        let peers = self.peers.borrow();
        let schedule = self.schedule.get_or_insert_with(|| {
            let share = Share {
                shard: place.shard.shard,
                shards: place.shard.shards,
                senders: peers.len(),
                senders_of_all: board.totals().opened as usize,
            };
            Schedule::new(self.rate, Arrivals::Constant, began_ns, share)
        });
        let mut now_ns = board.nanoseconds();
        let mut turn = Turn::new(now_ns);
        while let Some(due_ns) = schedule.due(now_ns) {
            // One that has gone is reported by its end.
            if peers[self.turn].ping(&due_ns.to_be_bytes()).is_ok() {
                place.tally.pings.add(1);
                place.tally.readings().record_lag(now_ns.saturating_sub(due_ns));
            }
            self.turn = (self.turn + 1) % peers.len();
            now_ns = board.nanoseconds();
            if !turn.goes_on(now_ns) {
                return 0;
            }
        }
        schedule.next_ns().saturating_sub(now_ns).min(GLANCE_NS)
    }
}

impl Handler for Settlers {
    type State = Settler;

    fn on_start(&mut self, outbound: &mut Outbound<Settler>) {
        if let Some(rate) = self.plan.ping_rate {
            let (peers, place) = (Rc::clone(&self.peers), Rc::clone(&self.place));
            let mut pinger = Pinger { peers, rate, schedule: None, turn: 0 };
            ringsock::spawn(keep_pace(Rc::clone(&place), move || pinger.ping_due(&place)));
        }
        self.opener.begin(&self.place);
        self.open(outbound);
    }

    fn on_upgrade(&mut self, _: &Request<'_>) -> Upgrade<Settler> {
        Upgrade::reject(Status::NOT_FOUND, "nothing is served here")
    }

    fn on_negotiated(&mut self, _: &mut Settler, negotiated: &Negotiated) {
        self.place.note_negotiated(&self.plan.target, negotiated);
    }

    fn on_open(&mut self, conn: &mut Conn<'_, Settler>) {
        self.place.welcome(&self.plan.target, conn);
        if self.plan.ping_rate.is_some() {
            self.peers.borrow_mut().push(conn.peer());
        }
        let number = conn.state().number;
        let letter = self.composer.letter(&self.plan.content.pattern, number, 0);
        self.place.tally.note_sent(letter.bytes().len());
        // When it cannot be queued, the connection is ending, which is counted there.
        let _ = conn.send(letter);
    }

    fn on_message(&mut self, conn: &mut Conn<'_, Settler>, message: Message<'_>) {
        let settler = conn.state_mut();
        let number = settler.number;
        if !std::mem::replace(&mut settler.settled, true) {
            let began_ns = settler.began_ns;
            self.opener.note_opened(conn.peer());
            self.place.tally.note_received(message.bytes().len());
            self.place.tally.record(self.place.board.nanoseconds().saturating_sub(began_ns));
            self.place.judge(&self.plan.content, (number, 0), &message);
        } else {
            self.place.find_unasked(number);
        }
        self.open(conn.outbound());
    }

    fn on_pong(&mut self, conn: &mut Conn<'_, Settler>, payload: &[u8]) {
        // A sign of life after a silence, or another is due to be opened.
        if payload.is_empty() {
            return self.open(conn.outbound());
        }
        let now_ns = self.place.board.nanoseconds();
        match payload.try_into().map(u64::from_be_bytes) {
            Ok(due_ns) if due_ns <= now_ns => {
                self.place.tally.pongs.add(1);
                self.place.tally.readings().record_ping(now_ns - due_ns);
            }
            _ => {
                let number = conn.state().number;
                self.place.fault(|| format!("connection {number}: a Pong came to no Ping"));
            }
        }
    }

    fn on_close(&mut self, conn: &mut Conn<'_, Settler>, info: CloseInfo<'_>) {
        if !conn.state().settled {
            self.opener.note_ended();
            self.place.tally.forfeited.add(1);
        }
        self.place.lose(conn.state().number, info);
        self.open(conn.outbound());
    }

    fn on_connect_failed(
        &mut self,
        outbound: &mut Outbound<Settler>,
        settler: Settler,
        reason: &str,
    ) {
        self.place.miss(&self.plan.target, settler.number, reason);
        let left_out = self.opener.note_refused();
        self.place.tally.unopened.add(left_out as u64);
        self.open(outbound);
    }
}
