//! The open-loop load of one shard: messages are sent when they are due, whatever has come back.
//! What is due when is the lanes' business; this is what happens on the connections.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use ringsock::client::Outbound;
use ringsock::http::Request;
use ringsock::protocol::handshake::{Negotiated, Status};
use ringsock::{CloseInfo, Conn, Handler, Message, Upgrade};

use super::lanes::{Lanes, PacedPlan};
use super::opener::Opener;
use super::outstanding::Answer;
use super::pacing::keep_pace;
use super::place::Place;

/// One connection.
#[derive(Debug)]
pub(crate) struct PacedLink {
    number: u32,
    lane: usize,
}

/// One shard's connections.
pub(crate) struct Paced {
    plan: Arc<PacedPlan>,
    place: Rc<Place>,
    opener: Opener,
    lanes: Rc<RefCell<Lanes>>,
}

impl Paced {
    pub(crate) fn new(plan: &Arc<PacedPlan>, place: Place) -> Self {
        let size = (plan.connections, plan.ramp);
        let opener = Opener::new(&plan.target, &place.board, place.shard, size);
        let lanes = Rc::new(RefCell::new(Lanes::new(plan, place.shard)));
        Self { plan: Arc::clone(plan), place: Rc::new(place), opener, lanes }
    }

    fn open(&mut self, outbound: &mut Outbound<PacedLink>) {
        self.opener.open(outbound, |number| PacedLink { number, lane: usize::MAX });
    }
}

impl Handler for Paced {
    type State = PacedLink;

    fn on_start(&mut self, outbound: &mut Outbound<PacedLink>) {
        let (lanes, place) = (Rc::clone(&self.lanes), Rc::clone(&self.place));
        ringsock::spawn(keep_pace(Rc::clone(&place), move || lanes.borrow_mut().send_due(&place)));
        self.opener.begin(&self.place);
        self.open(outbound);
    }

    fn on_upgrade(&mut self, _: &Request<'_>) -> Upgrade<PacedLink> {
        Upgrade::reject(Status::NOT_FOUND, "nothing is served here")
    }

    fn on_negotiated(&mut self, _: &mut PacedLink, negotiated: &Negotiated) {
        self.place.note_negotiated(&self.plan.target, negotiated);
    }

    fn on_open(&mut self, conn: &mut Conn<'_, PacedLink>) {
        let number = conn.state().number;
        conn.state_mut().lane = self.lanes.borrow_mut().join(conn.peer(), number);
        self.opener.note_opened(conn.peer());
        self.place.welcome(&self.plan.target, conn);
        self.open(conn.outbound());
    }

    fn on_message(&mut self, conn: &mut Conn<'_, PacedLink>, message: Message<'_>) {
        let now_ns = self.place.board.nanoseconds();
        let PacedLink { number, lane } = *conn.state();
        let answer = self.lanes.borrow_mut().answer(lane, message.bytes(), now_ns, &self.place);
        let tally = &self.place.tally;
        match answer {
            Answer::First { sequence, sent: times, late } => {
                if self.place.board.is_counted(times.due_ns) {
                    let (from_due, from_sent) =
                        (now_ns.saturating_sub(times.due_ns), now_ns.saturating_sub(times.sent_ns));
                    tally.readings().record_paced(from_due, from_sent);
                }
                tally.reordered.add(u64::from(late));
                tally.note_received(message.bytes().len());
                self.place.judge(&self.plan.content, (number, sequence), &message);
            }
            Answer::Again => tally.duplicated.add(1),
            Answer::Garbled { sequence } => {
                tally.note_received(message.bytes().len());
                self.place.find_garbled(&self.plan.content, (number, sequence), &message);
            }
            Answer::Unasked => self.place.find_unasked(number),
        }
    }

    /// A connection that was silent is asked for a sign of life, and this is it; or another is due
    /// to be opened.
    fn on_pong(&mut self, conn: &mut Conn<'_, PacedLink>, _: &[u8]) {
        self.open(conn.outbound());
        let now_ns = self.place.board.nanoseconds();
        let before_ns = self.plan.content.overdue_before(now_ns);
        let lane = conn.state().lane;
        self.lanes.borrow_mut().give_up(lane, before_ns, now_ns, &self.place);
    }

    fn on_close(&mut self, conn: &mut Conn<'_, PacedLink>, info: CloseInfo<'_>) {
        let mut lanes = self.lanes.borrow_mut();
        if self.place.board.is_closing() {
            lanes.abandon(&self.place);
        }
        lanes.leave(conn.state().lane, &self.place);
        self.place.lose(conn.state().number, info);
    }

    fn on_connect_failed(
        &mut self,
        outbound: &mut Outbound<PacedLink>,
        link: PacedLink,
        reason: &str,
    ) {
        self.place.miss(&self.plan.target, link.number, reason);
        let left_out = self.opener.note_refused();
        self.place.tally.unopened.add(left_out as u64);
        self.open(outbound);
    }
}
