//! The echo load of one shard: its connections, each with a fixed number of messages under way. It
//! is a closed loop: a message is sent for each that comes back. The first one is not sent here but
//! by whoever begins the run.

use std::rc::Rc;
use std::sync::Arc;

use ringsock::client::Outbound;
use ringsock::http::Request;
use ringsock::protocol::handshake::{Negotiated, Status};
use ringsock::{CloseInfo, Conn, Handler, Message, Outgoing, SendOutcome, Upgrade};

use super::opener::Opener;
use super::outstanding::{Answer, Outstanding};
use super::place::Place;
use super::starting_line::StartingLine;
use crate::composer::Composer;
use crate::content::Content;
use crate::target::Target;

/// What every connection of a run does.
#[derive(Debug)]
pub(crate) struct EchoPlan {
    pub(crate) target: Arc<Target>,
    pub(crate) connections: usize,
    /// Connections opened a second, if that was asked for.
    pub(crate) ramp: Option<usize>,
    pub(crate) content: Content,
    /// Messages under way on each connection.
    pub(crate) pipeline: usize,
    /// Messages of each connection in all, or as many as there is time for.
    pub(crate) messages: Option<u64>,
    /// Where connections wait for one another.
    pub(crate) line: StartingLine,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Link {
    number: u32,
    /// With when each was sent.
    outstanding: Outstanding<u64>,
}

impl Link {
    /// Notes the first message, which was sent from elsewhere when the run began.
    #[inline]
    fn note_beginning(&mut self, began_ns: u64) {
        if self.outstanding.next() == 0 && began_ns > 0 {
            self.outstanding.push(began_ns);
        }
    }
}

/// One shard's connections.
pub(crate) struct Swarm {
    plan: Arc<EchoPlan>,
    place: Rc<Place>,
    opener: Opener,
    composer: Composer,
}

impl Swarm {
    pub(crate) fn new(plan: &Arc<EchoPlan>, place: Place) -> Self {
        let size = (plan.connections, plan.ramp);
        let opener = Opener::new(&plan.target, &place.board, place.shard, size);
        let composer = plan.content.composer();
        Self { plan: Arc::clone(plan), place: Rc::new(place), opener, composer }
    }

    fn open(&mut self, outbound: &mut Outbound<Link>) {
        self.opener.open(outbound, |number| Link { number, outstanding: Outstanding::default() });
    }

    /// Sends until as many messages as wanted are under way.
    fn fill(&mut self, conn: &mut Conn<'_, Link>, now: u64) {
        let plan = &self.plan;
        let messages = plan.messages.unwrap_or(u64::MAX);
        while self.place.board.is_sending() {
            let link = conn.state();
            let (number, sequence) = (link.number, link.outstanding.next());
            if link.outstanding.under_way() >= plan.pipeline || sequence >= messages {
                return;
            }
            let letter = self.composer.letter(&plan.content.pattern, number, sequence);
            let payload_bytes = letter.bytes().len();
            if conn.send(letter) != SendOutcome::Queued {
                return;
            }
            conn.state_mut().outstanding.push(now);
            self.place.tally.note_sent(payload_bytes);
        }
    }
}

impl Handler for Swarm {
    type State = Link;

    fn on_start(&mut self, outbound: &mut Outbound<Link>) {
        self.opener.begin(&self.place);
        self.open(outbound);
    }

    fn on_upgrade(&mut self, _: &Request<'_>) -> Upgrade<Link> {
        Upgrade::reject(Status::NOT_FOUND, "nothing is served here")
    }

    fn on_negotiated(&mut self, _: &mut Link, negotiated: &Negotiated) {
        self.place.note_negotiated(&self.plan.target, negotiated);
    }

    fn on_open(&mut self, conn: &mut Conn<'_, Link>) {
        self.opener.note_opened(conn.peer());
        self.plan.line.arrive(conn.peer().remote(), conn.state().number);
        // Afterwards: who sees that all are open may let them begin.
        self.place.welcome(&self.plan.target, conn);
        self.open(conn.outbound());
    }

    fn on_message(&mut self, conn: &mut Conn<'_, Link>, message: Message<'_>) {
        let now = self.place.board.nanoseconds();
        let link = conn.state_mut();
        link.note_beginning(self.plan.line.began_ns());
        let (number, oldest) = (link.number, link.outstanding.oldest());
        let answered = self.plan.content.number_in(message.bytes(), oldest);
        match link.outstanding.answer(answered) {
            Answer::First { sequence, sent, late } => {
                if self.place.board.is_counted(sent) {
                    self.place.tally.record(now.saturating_sub(sent));
                }
                self.place.tally.reordered.add(u64::from(late));
                self.fill(conn, now);
                // Afterwards, so that whoever counts never sees nothing under way.
                self.place.tally.note_received(message.bytes().len());
                self.place.judge(&self.plan.content, (number, sequence), &message);
            }
            Answer::Garbled { sequence } => {
                self.fill(conn, now);
                self.place.tally.note_received(message.bytes().len());
                self.place.find_garbled(&self.plan.content, (number, sequence), &message);
            }
            Answer::Again => self.place.tally.duplicated.add(1),
            Answer::Unasked => self.place.find_unasked(number),
        }
    }

    /// A connection that was silent is asked for a sign of life, and this is it; or another is due
    /// to be opened.
    fn on_pong(&mut self, conn: &mut Conn<'_, Link>, _: &[u8]) {
        self.open(conn.outbound());
        let now = self.place.board.nanoseconds();
        let link = conn.state_mut();
        link.note_beginning(self.plan.line.began_ns());
        let before = self.plan.content.overdue_before(now);
        link.outstanding.give_up(|&sent| sent < before);
        if link.outstanding.next() > 0 {
            self.fill(conn, now);
        }
    }

    fn on_close(&mut self, conn: &mut Conn<'_, Link>, info: CloseInfo<'_>) {
        let link = conn.state_mut();
        link.note_beginning(self.plan.line.began_ns());
        self.place.leave_unanswered(link.outstanding.unanswered());
        let owed: u64 = link.outstanding.unanswered().map(|(_, count)| count).sum();
        let unsent = self.plan.messages.map_or(0, |all| all - link.outstanding.next());
        self.place.tally.forfeited.add(owed + unsent);
        self.place.lose(link.number, info);
    }

    fn on_connect_failed(&mut self, outbound: &mut Outbound<Link>, link: Link, reason: &str) {
        self.place.miss(&self.plan.target, link.number, reason);
        let left_out = self.opener.note_refused();
        self.place.tally.unopened.add(left_out as u64);
        self.open(outbound);
    }
}
