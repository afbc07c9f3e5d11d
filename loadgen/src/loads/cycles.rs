//! The churn load of one shard: a fixed number of connections at once, each of which is opened,
//! echoes a few messages, is closed, and is followed by another. A cycle lasts from the request to
//! connect until the closing handshake is complete, without the pauses that it makes.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use ringsock::client::Outbound;
use ringsock::connection::ClosedBy;
use ringsock::http::Request;
use ringsock::protocol::handshake::{Negotiated, Status};
use ringsock::{CloseCode, CloseInfo, Conn, Handler, Message, Outgoing, Upgrade};

use super::breaks::Breaks;
use super::pacing::keep_pace;
use super::place::Place;
use crate::composer::Composer;
use crate::content::Content;
use crate::target::Target;
use crate::think::Think;

/// What every cycle does.
#[derive(Debug)]
pub(crate) struct CyclePlan {
    pub(crate) target: Arc<Target>,
    /// Connections under way at once, of all shards.
    pub(crate) connections: usize,
    /// Messages echoed on each, at least one.
    pub(crate) messages: u64,
    /// The pauses between them, if there are any.
    pub(crate) think: Option<Think>,
    pub(crate) content: Content,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Cycle {
    number: u32,
    began_ns: u64,
    /// How long it has paused.
    paused_ns: u64,
    received: u64,
}

/// One shard's connections.
pub(crate) struct Cycles {
    plan: Arc<CyclePlan>,
    place: Rc<Place>,
    composer: Composer,
    breaks: Option<Rc<RefCell<Breaks>>>,
    /// The number of the next connection; a shard counts in steps of the number of shards.
    next: usize,
    has_opened: bool,
    refused_in_a_row: usize,
}

/// Connections of a shard that may be refused in a row before it opens no more. A server that
/// begins anew is back sooner.
const REFUSED_MAX: usize = 10_000;

impl Cycles {
    pub(crate) fn new(plan: &Arc<CyclePlan>, place: Place) -> Self {
        let next = place.shard.shard;
        let composer = plan.content.composer();
        let breaks = plan.think.map(|think| Breaks::new(think, plan, place.shard.shard));
        let breaks = breaks.map(|breaks| Rc::new(RefCell::new(breaks)));
        let (plan, place) = (Arc::clone(plan), Rc::new(place));
        Self { plan, place, composer, breaks, next, has_opened: false, refused_in_a_row: 0 }
    }

    fn open(&mut self, outbound: &mut Outbound<Cycle>) {
        self.place.tally.started.add(1);
        let number = self.next;
        self.next += self.place.shard.shards;
        let began_ns = self.place.board.nanoseconds();
        match self.plan.target.short_request(number) {
            Ok(request) => {
                let number = number as u32;
                outbound.connect(request, Cycle { number, began_ns, paused_ns: 0, received: 0 });
            }
            Err(failure) => self.place.board.fail(failure),
        }
    }

    fn send(&mut self, conn: &mut Conn<'_, Cycle>) {
        let (number, sequence) = (conn.state().number, conn.state().received);
        let letter = self.composer.letter(&self.plan.content.pattern, number, sequence);
        self.place.tally.note_sent(letter.bytes().len());
        // When it cannot be queued, the connection is ending, which is counted there.
        let _ = conn.send(letter);
    }

    /// How long the pause was that is over now.
    fn end_break(&self, number: u32) -> u64 {
        self.breaks.as_ref().map_or(0, |breaks| breaks.borrow_mut().take_ns(number))
    }

    /// Sends the next message, at once or after a pause.
    fn follow(&mut self, conn: &mut Conn<'_, Cycle>) {
        let Some(breaks) = &self.breaks else { return self.send(conn) };
        let Cycle { number, received, .. } = *conn.state();
        let now_ns = self.place.board.nanoseconds();
        breaks.borrow_mut().begin(number, conn.peer(), received, now_ns);
    }
}

impl Handler for Cycles {
    type State = Cycle;

    fn on_start(&mut self, outbound: &mut Outbound<Cycle>) {
        if let Some(breaks) = &self.breaks {
            let (breaks, place) = (Rc::clone(breaks), Rc::clone(&self.place));
            ringsock::spawn(keep_pace(Rc::clone(&place), move || {
                breaks.borrow_mut().send_due(&place)
            }));
        }
        let shards = self.place.shard.shards;
        for _ in (self.place.shard.shard..self.plan.connections).step_by(shards) {
            self.open(outbound);
        }
    }

    fn on_upgrade(&mut self, _: &Request<'_>) -> Upgrade<Cycle> {
        Upgrade::reject(Status::NOT_FOUND, "nothing is served here")
    }

    fn on_negotiated(&mut self, _: &mut Cycle, negotiated: &Negotiated) {
        self.place.note_negotiated(&self.plan.target, negotiated);
    }

    fn on_open(&mut self, conn: &mut Conn<'_, Cycle>) {
        self.place.welcome(&self.plan.target, conn);
        (self.has_opened, self.refused_in_a_row) = (true, 0);
        self.send(conn);
    }

    fn on_message(&mut self, conn: &mut Conn<'_, Cycle>, message: Message<'_>) {
        let cycle = conn.state_mut();
        let (number, sequence) = (cycle.number, cycle.received);
        cycle.received += 1;
        cycle.paused_ns += self.end_break(number);
        self.place.tally.note_received(message.bytes().len());
        self.place.judge(&self.plan.content, (number, sequence), &message);
        if sequence + 1 < self.plan.messages {
            self.follow(conn);
        } else {
            conn.close(CloseCode::NORMAL, "");
        }
    }

    fn on_close(&mut self, conn: &mut Conn<'_, Cycle>, info: CloseInfo<'_>) {
        let cycle = conn.state();
        let number = cycle.number;
        let complete = cycle.received == self.plan.messages
            && (info.by, info.code) == (ClosedBy::Local, CloseCode::NORMAL);
        if complete {
            let (began_ns, paused_ns) = (cycle.began_ns, cycle.paused_ns);
            if self.place.board.is_counted(began_ns) {
                let now = self.place.board.nanoseconds();
                self.place.tally.record(now.saturating_sub(began_ns + paused_ns));
            }
            self.place.tally.cycles.add(1);
        } else {
            self.end_break(number);
            self.place.leave_unanswered([(cycle.began_ns, 1)].into_iter());
            self.place.lose(number, info);
        }
        if self.place.board.is_sending() {
            self.open(conn.outbound());
        }
    }

    fn on_connect_failed(&mut self, outbound: &mut Outbound<Cycle>, cycle: Cycle, reason: &str) {
        self.place.miss(&self.plan.target, cycle.number, reason);
        self.refused_in_a_row += 1;
        // Where none was ever opened, none is tried twice.
        let goes_on = self.has_opened && self.refused_in_a_row < REFUSED_MAX;
        if goes_on && self.place.board.is_sending() {
            self.open(outbound);
        }
    }
}
