//! Connections that read slowly or not at all, on purpose: each pauses to receive, and goes on when
//! it may read again. They understand nothing of what they read; what others notice of them is
//! measured elsewhere.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ringsock::client::Outbound;
use ringsock::http::Request;
use ringsock::protocol::handshake::{Negotiated, Status};
use ringsock::{CloseInfo, Conn, Handler, KIB, Message, Peer, SendOutcome, Text, Upgrade};

use super::opener::Opener;
use super::pacing::{GLANCE_NS, keep_pace};
use super::place::Place;
use crate::composer::Composer;
use crate::content::Content;
use crate::target::Target;

/// Bytes that wait to be sent from which on a connection sends no more, until there are fewer.
const QUEUED_BYTES_MAX: usize = 64 * KIB;

/// How they behave.
#[derive(Debug)]
pub(crate) struct SluggishPlan {
    pub(crate) target: Arc<Target>,
    pub(crate) connections: usize,
    /// Payload that each reads a second, in whole messages. Zero: they do not read.
    pub(crate) bytes_per_second: u64,
    pub(crate) content: Content,
    /// Whether they send, as much as the server takes, to be answered.
    pub(crate) sends: bool,
    /// What each sends first.
    pub(crate) join: Option<String>,
    /// Payload that all of them have read while they were slow.
    pub(crate) bytes_read: AtomicU64,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Sluggard {
    number: u32,
    /// Among those of its shard.
    index: usize,
    sent: u64,
}

/// Who may read again, and when.
#[derive(Debug, Default)]
struct Naps {
    /// The connections, by index.
    peers: Vec<Peer>,
    /// When each that reads again does.
    ends: BinaryHeap<Reverse<(u64, usize)>>,
    all_are_awake: bool,
}

impl Naps {
    /// Wakes those whose time has come, and in the end all of them: what the server has done with
    /// them is known when what it sent before is read. Nanoseconds until there is something to do
    /// again.
    fn wake(&mut self, place: &Place) -> u64 {
        let now_ns = place.board.nanoseconds();
        if !place.board.is_sending() && !std::mem::replace(&mut self.all_are_awake, true) {
            for peer in &self.peers {
                // One that has gone is reported by its end.
                let _ = peer.resume_receive();
            }
        }
        while let Some(&Reverse((end_ns, index))) = self.ends.peek() {
            if end_ns > now_ns {
                return (end_ns - now_ns).min(GLANCE_NS);
            }
            self.ends.pop();
            let _ = self.peers[index].resume_receive();
        }
        GLANCE_NS
    }
}

/// One shard's slow connections.
pub(crate) struct Sluggards {
    plan: Arc<SluggishPlan>,
    place: Rc<Place>,
    opener: Opener,
    composer: Composer,
    naps: Rc<RefCell<Naps>>,
}

impl Sluggards {
    pub(crate) fn new(plan: &Arc<SluggishPlan>, place: Place) -> Self {
        // Without a ramp: who does not read hears of nothing that is due.
        let size = (plan.connections, None);
        let opener = Opener::new(&plan.target, &place.board, place.shard, size);
        let composer = plan.content.composer();
        let (plan, place, naps) = (Arc::clone(plan), Rc::new(place), Rc::default());
        Self { plan, place, opener, composer, naps }
    }

    fn open(&mut self, outbound: &mut Outbound<Sluggard>) {
        self.opener.open(outbound, |number| Sluggard { number, index: 0, sent: 0 });
    }

    fn send(&mut self, conn: &mut Conn<'_, Sluggard>) {
        while self.plan.sends
            && self.place.board.is_sending()
            && conn.queued_bytes() < QUEUED_BYTES_MAX
        {
            let Sluggard { number, sent, .. } = *conn.state();
            let letter = self.composer.letter(&self.plan.content.pattern, number, sent);
            if conn.send(letter) != SendOutcome::Queued {
                return;
            }
            conn.state_mut().sent += 1;
        }
    }
}

impl Handler for Sluggards {
    type State = Sluggard;

    fn on_start(&mut self, outbound: &mut Outbound<Sluggard>) {
        let (naps, place) = (Rc::clone(&self.naps), Rc::clone(&self.place));
        ringsock::spawn(keep_pace(Rc::clone(&place), move || naps.borrow_mut().wake(&place)));
        self.open(outbound);
    }

    fn on_upgrade(&mut self, _: &Request<'_>) -> Upgrade<Sluggard> {
        Upgrade::reject(Status::NOT_FOUND, "nothing is served here")
    }

    fn on_negotiated(&mut self, _: &mut Sluggard, negotiated: &Negotiated) {
        self.place.note_negotiated(&self.plan.target, negotiated);
    }

    fn on_open(&mut self, conn: &mut Conn<'_, Sluggard>) {
        let mut naps = self.naps.borrow_mut();
        conn.state_mut().index = naps.peers.len();
        naps.peers.push(conn.peer());
        drop(naps);
        if let Some(join) = &self.plan.join {
            // When it cannot be queued, the connection is ending, which is counted there.
            let _ = conn.send(Text(join));
        }
        self.send(conn);
        if self.plan.bytes_per_second == 0 {
            conn.pause_receive();
        }
        self.opener.note_opened(conn.peer());
        self.place.welcome(&self.plan.target, conn);
        self.open(conn.outbound());
    }

    fn on_message(&mut self, conn: &mut Conn<'_, Sluggard>, message: Message<'_>) {
        self.place.tally.note_received(message.bytes().len());
        if !self.place.board.is_sending() {
            return;
        }
        let bytes = message.bytes().len() as u64;
        self.plan.bytes_read.fetch_add(bytes, Ordering::Relaxed);
        let nap_ns = bytes.saturating_mul(1_000_000_000) / self.plan.bytes_per_second.max(1);
        let end_ns = self.place.board.nanoseconds().saturating_add(nap_ns);
        self.naps.borrow_mut().ends.push(Reverse((end_ns, conn.state().index)));
        conn.pause_receive();
    }

    fn on_drain(&mut self, conn: &mut Conn<'_, Sluggard>) {
        self.send(conn);
    }

    fn on_close(&mut self, conn: &mut Conn<'_, Sluggard>, info: CloseInfo<'_>) {
        self.place.lose(conn.state().number, info);
    }

    fn on_connect_failed(
        &mut self,
        outbound: &mut Outbound<Sluggard>,
        sluggard: Sluggard,
        reason: &str,
    ) {
        self.place.miss(&self.plan.target, sluggard.number, reason);
        let left_out = self.opener.note_refused();
        self.place.tally.unopened.add(left_out as u64);
        self.open(outbound);
    }
}
