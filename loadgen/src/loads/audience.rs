//! The fan-out load of one shard: its subscribers, each of which is due every message in order.
//! Which message is published next is not decided here.

use std::sync::Arc;

use ringsock::protocol::handshake::Status;
use ringsock::{CloseInfo, Conn, Handler, Message, Outbound, Request, Upgrade};

use super::channel::Channel;
use super::opener::{HANDSHAKES_MAX, Opener};
use super::place::Place;
use crate::target::Target;

/// One subscriber. The one with number 0 publishes as well.
#[derive(Debug)]
pub(crate) struct Subscriber {
    number: u32,
    received: u64,
}

/// One shard's subscribers.
pub(crate) struct Audience {
    target: Arc<Target>,
    channel: Arc<Channel>,
    place: Place,
    opener: Opener,
    share: usize,
    /// By message under way: how many of this shard have not received it.
    missing: Box<[usize]>,
}

impl Audience {
    pub(crate) fn new(
        target: &Arc<Target>,
        channel: &Arc<Channel>,
        connections: usize,
        place: Place,
    ) -> Self {
        let opener = Opener::new(target, &place.board, place.shard, connections);
        let share = opener.left();
        if share > 0 {
            channel.join();
        }
        let missing = vec![share; channel.pipeline()].into();
        let (target, channel) = (Arc::clone(target), Arc::clone(channel));
        Self { target, channel, place, opener, share, missing }
    }

    fn open(&mut self, outbound: &mut Outbound<Subscriber>, count: usize) {
        self.opener.open(outbound, count, |number| Subscriber { number, received: 0 });
    }

    /// One more of this shard has received this message. When everybody has, the next follows.
    fn deliver(&mut self, sequence: u64, now_ns: u64) {
        let index = (sequence % self.missing.len() as u64) as usize;
        self.missing[index] -= 1;
        if self.missing[index] > 0 {
            return;
        }
        self.missing[index] = self.share;
        if self.channel.leave(sequence) && self.place.board.is_sending() {
            self.channel.publish(now_ns);
        }
    }
}

impl Handler for Audience {
    type State = Subscriber;

    fn on_start(&mut self, outbound: &mut Outbound<Subscriber>) {
        self.open(outbound, HANDSHAKES_MAX);
    }

    fn on_upgrade(&mut self, _: &Request<'_>) -> Upgrade<Subscriber> {
        Upgrade::reject(Status::NOT_FOUND, "nothing is served here")
    }

    fn on_open(&mut self, conn: &mut Conn<'_, Subscriber>) {
        self.place.tally.opened.add(1);
        if conn.state().number == 0 {
            self.channel.set_publisher(conn.peer().remote());
        }
        self.open(conn.outbound(), 1);
    }

    fn on_message(&mut self, conn: &mut Conn<'_, Subscriber>, message: Message<'_>) {
        let now = self.place.board.nanoseconds();
        let subscriber = conn.state_mut();
        let (number, sequence) = (subscriber.number, subscriber.received);
        subscriber.received += 1;
        self.place.tally.received.add(1);
        if self.place.board.is_counting() {
            let published = self.channel.published_ns(sequence);
            self.place.tally.record(now.saturating_sub(published));
        }
        match self.channel.judge(number, sequence, &message) {
            Ok(true) => self.place.tally.compared.add(1),
            Ok(false) => {}
            Err(fault) => self.place.fault(|| format!("subscriber {number}: {fault}")),
        }
        self.deliver(sequence, now);
    }

    fn on_close(&mut self, conn: &mut Conn<'_, Subscriber>, info: CloseInfo<'_>) {
        self.place.lose(conn.state().number, info);
    }

    fn on_connect_failed(&mut self, _: &mut Outbound<Subscriber>, _: Subscriber, reason: &str) {
        self.place.fail_to_open(&self.target, reason);
    }
}
