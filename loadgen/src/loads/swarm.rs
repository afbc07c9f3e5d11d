//! The echo load of one shard: its connections, each with a fixed number of messages under way. It
//! is a closed loop: a message is sent for each that comes back. The first one is not sent here but
//! by whoever begins the run.

use std::sync::Arc;

use ringsock::protocol::handshake::Status;
use ringsock::{CloseInfo, Conn, Handler, Message, Outbound, Request, SendOutcome, Upgrade};

use super::opener::{HANDSHAKES_MAX, Opener};
use super::place::Place;
use super::starting_line::StartingLine;
use crate::composer::Composer;
use crate::pattern::{Pattern, Verify};
use crate::target::Target;

/// What every connection of a run does.
#[derive(Debug)]
pub(crate) struct EchoPlan {
    pub(crate) target: Arc<Target>,
    pub(crate) connections: usize,
    pub(crate) pattern: Pattern,
    pub(crate) verify: Verify,
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
    sent: u64,
    received: u64,
    sent_at: SentTimes,
}

/// When the messages under way were sent, by sequence number modulo their number.
#[derive(Debug)]
enum SentTimes {
    /// One at a time needs no memory elsewhere.
    One(u64),
    Many(Box<[u64]>),
}

impl SentTimes {
    fn new(pipeline: usize) -> Self {
        if pipeline == 1 { Self::One(0) } else { Self::Many(vec![0; pipeline].into()) }
    }

    fn at(&mut self, sequence: u64) -> &mut u64 {
        match self {
            Self::One(time) => time,
            Self::Many(times) => {
                let index = (sequence % times.len() as u64) as usize;
                &mut times[index]
            }
        }
    }
}

/// One shard's connections.
pub(crate) struct Swarm {
    plan: Arc<EchoPlan>,
    place: Place,
    opener: Opener,
    composer: Composer,
}

impl Swarm {
    pub(crate) fn new(plan: &Arc<EchoPlan>, place: Place) -> Self {
        let opener = Opener::new(&plan.target, &place.board, place.shard, plan.connections);
        let composer = Composer::new(&plan.pattern);
        Self { plan: Arc::clone(plan), place, opener, composer }
    }

    fn open(&mut self, outbound: &mut Outbound<Link>, count: usize) {
        let pipeline = self.plan.pipeline;
        self.opener.open(outbound, count, |number| Link {
            number,
            sent: 0,
            received: 0,
            sent_at: SentTimes::new(pipeline),
        });
    }

    /// Sends until as many messages as wanted are under way.
    fn fill(&mut self, conn: &mut Conn<'_, Link>, now: u64) {
        let plan = &self.plan;
        let messages = plan.messages.unwrap_or(u64::MAX);
        while self.place.board.is_sending() {
            let link = conn.state();
            let (number, sequence) = (link.number, link.sent);
            let full = sequence - link.received >= plan.pipeline as u64;
            if full || sequence >= messages {
                return;
            }
            let letter = self.composer.letter(&plan.pattern, number, sequence);
            if conn.send(letter) != SendOutcome::Queued {
                return;
            }
            let link = conn.state_mut();
            *link.sent_at.at(sequence) = now;
            link.sent += 1;
            self.place.tally.sent.add(1);
        }
    }
}

impl Handler for Swarm {
    type State = Link;

    fn on_start(&mut self, outbound: &mut Outbound<Link>) {
        self.open(outbound, HANDSHAKES_MAX);
    }

    fn on_upgrade(&mut self, _: &Request<'_>) -> Upgrade<Link> {
        Upgrade::reject(Status::NOT_FOUND, "nothing is served here")
    }

    fn on_open(&mut self, conn: &mut Conn<'_, Link>) {
        self.place.tally.opened.add(1);
        self.plan.line.arrive(conn.peer().remote(), conn.state().number);
        self.open(conn.outbound(), 1);
    }

    fn on_message(&mut self, conn: &mut Conn<'_, Link>, message: Message<'_>) {
        let now = self.place.board.nanoseconds();
        let link = conn.state_mut();
        let began = self.plan.line.began_ns();
        if link.sent == 0 && began > 0 {
            link.sent = 1;
            *link.sent_at.at(0) = began;
        }
        let (number, sequence) = (link.number, link.received);
        if sequence == link.sent {
            return self
                .place
                .fault(|| format!("connection {number}: a message came that answers nothing"));
        }
        link.received += 1;
        let sent_at = *link.sent_at.at(sequence);
        if self.place.board.is_counting() {
            self.place.tally.record(now.saturating_sub(sent_at));
        }
        self.fill(conn, now);
        // Afterwards, so that whoever counts never sees nothing under way.
        self.place.tally.received.add(1);
        self.place.judge(&self.plan.pattern, self.plan.verify, (number, sequence), &message);
    }

    fn on_close(&mut self, conn: &mut Conn<'_, Link>, info: CloseInfo<'_>) {
        self.place.lose(conn.state().number, info);
    }

    fn on_connect_failed(&mut self, _: &mut Outbound<Link>, _: Link, reason: &str) {
        self.place.fail_to_open(&self.plan.target, reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sent_times_are_kept_for_as_many_messages_as_are_under_way() {
        for pipeline in [1, 2, 16] {
            let mut times = SentTimes::new(pipeline);
            for sequence in 0..100 {
                if let Some(oldest) = (sequence as u64).checked_sub(pipeline as u64) {
                    assert_eq!(*times.at(oldest), 1000 + oldest);
                }
                *times.at(sequence as u64) = 1000 + sequence as u64;
            }
        }
    }
}
