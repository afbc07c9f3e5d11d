//! The fan-out load of one shard: its subscribers, each of which is due every message in order.
//! In a closed loop a message that has reached everybody is followed by the next, after a pause if
//! that was asked for; in an open loop messages are published when they are due.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use ringsock::client::Outbound;
use ringsock::http::Request;
use ringsock::protocol::handshake::{Negotiated, Status};
use ringsock::{CloseInfo, Conn, Handler, Message, Text, Upgrade};

use super::channel::{Channel, MessageName, Published};
use super::clock::Pace;
use super::opener::Opener;
use super::pacing::keep_pace;
use super::pending::{PENDING_MAX, Pending};
use super::place::Place;
use super::publishers::Publishers;
use super::tracker::{Receipt, Tracker};
use crate::attendance::Attendee;
use crate::composer::Composer;
use crate::target::Target;

/// What a fan-out run does.
#[derive(Debug)]
pub(crate) struct FanoutPlan {
    pub(crate) target: Arc<Target>,
    pub(crate) connections: usize,
    /// Connections opened a second, if that was asked for.
    pub(crate) ramp: Option<usize>,
    pub(crate) channel: Channel,
    /// Messages of each publisher that are to be under way in a closed loop.
    pub(crate) pipeline: usize,
    /// What makes messages due, unless it is that others have come.
    pub(crate) pace: Option<Pace>,
    /// Whether a publisher receives its own messages.
    pub(crate) reaches_self: bool,
    /// What each connection sends first.
    pub(crate) join: Option<String>,
}

impl FanoutPlan {
    /// Messages a second of all publishers together, if that was demanded.
    pub(crate) fn rate(&self) -> Option<f64> {
        match self.pace {
            Some(Pace::Rate(rate, _)) => Some(rate),
            _ => None,
        }
    }

    /// Subscribers that are due each message, of so many that are open.
    pub(crate) fn audience(&self, opened: u64) -> u64 {
        opened.saturating_sub(u64::from(!self.reaches_self))
    }

    /// The publishers whose messages a subscriber is due, which may be one itself.
    fn publishers_for(&self, own: Option<usize>) -> impl Iterator<Item = usize> + use<> {
        let own = own.filter(|_| !self.reaches_self);
        (0..self.channel.publishers()).filter(move |publisher| Some(*publisher) != own)
    }
}

/// One subscriber.
#[derive(Debug)]
pub(crate) struct Subscriber {
    /// Which publisher it is. The first ones that are open publish as well.
    publisher: Option<usize>,
    trackers: Trackers,
    attendee: Attendee,
}

/// What was received, by publisher.
#[derive(Debug)]
enum Trackers {
    One(Tracker),
    Many(Box<[Tracker]>),
}

impl Trackers {
    fn of(&mut self, publisher: usize) -> &mut Tracker {
        match self {
            Self::One(tracker) => tracker,
            Self::Many(trackers) => &mut trackers[publisher],
        }
    }
}

/// One shard's subscribers.
pub(crate) struct Audience {
    plan: Arc<FanoutPlan>,
    place: Rc<Place>,
    opener: Opener,
    /// By publisher: messages that not all of this shard have.
    pending: Box<[Pending]>,
    publishers: Rc<RefCell<Publishers>>,
    composer: Composer,
    /// When it is looked next for messages that are overdue.
    next_look_ns: u64,
    /// What is owed in the end has been counted.
    has_settled: bool,
}

impl Audience {
    pub(crate) fn new(plan: &Arc<FanoutPlan>, place: Place) -> Self {
        let size = (plan.connections, plan.ramp);
        let opener = Opener::new(&plan.target, &place.board, place.shard, size);
        let pending = (0..plan.channel.publishers()).map(|_| Pending::default()).collect();
        Self {
            plan: Arc::clone(plan),
            place: Rc::new(place),
            opener,
            pending,
            publishers: Rc::new(RefCell::new(Publishers::new(plan))),
            composer: plan.channel.content().composer(),
            next_look_ns: 0,
            has_settled: false,
        }
    }

    fn open(&mut self, outbound: &mut Outbound<Subscriber>) {
        let publishers = self.pending.len();
        self.opener.open(outbound, |number| {
            let trackers = match publishers {
                1 => Trackers::One(Tracker::default()),
                _ => Trackers::Many(vec![Tracker::default(); publishers].into()),
            };
            let attendee = Attendee { number, ..Attendee::default() };
            Subscriber { publisher: None, trackers, attendee }
        });
    }

    /// One more of this shard has received this message, at this time if that is known.
    fn deliver(&mut self, name: MessageName, now_ns: u64) -> Option<Published> {
        let pending = &mut self.pending[name.publisher];
        if pending.see(name.sequence) {
            self.plan.channel.see(name);
        }
        if name.sequence >= pending.end() {
            let mut owed = self.plan.channel.catch_up(name, self.place.shard.shard, pending);
            owed.extend(pending.forget(PENDING_MAX / self.plan.channel.publishers()));
            self.place.leave_unanswered(owed.into_iter());
        }
        let delivery = pending.deliver(name.sequence)?;
        if delivery.is_last {
            self.complete(name, now_ns);
        }
        Some(delivery.times)
    }

    /// All of this shard have received this message, or never will.
    fn complete(&mut self, name: MessageName, now_ns: u64) {
        let Some(completed) = self.plan.channel.leave(name) else { return };
        if self.place.board.is_counted(completed.times.due_ns) {
            let completion_ns = now_ns.saturating_sub(completed.times.due_ns);
            self.place.tally.readings().record_completion(completion_ns);
        }
        if !completed.is_replaced {
            self.publish_next(name.publisher, now_ns);
        }
    }

    /// A message of a closed loop is followed by another, at once or after a pause, unless that would
    /// no longer count.
    fn publish_next(&mut self, publisher: usize, now_ns: u64) {
        let board = &self.place.board;
        let is_in_time = board.is_sending() && now_ns < board.counted_end_ns();
        match self.plan.pace {
            None if is_in_time => {
                let times = Published::at(now_ns);
                let channel = &self.plan.channel;
                if let Some(bytes) = channel.publish(publisher, None, times, &mut self.composer) {
                    self.place.tally.note_sent(bytes);
                }
            }
            Some(Pace::Think(_)) => {
                self.publishers.borrow_mut().pause(publisher, now_ns, &self.place);
            }
            _ => {}
        }
    }

    /// Has others published in the place of messages that have waited too long for somebody.
    fn look_for_overdue(&mut self, now_ns: u64) {
        let content = self.plan.channel.content();
        let Some(timeout) = content.answer_timeout.filter(|_| self.plan.rate().is_none()) else {
            self.next_look_ns = u64::MAX;
            return;
        };
        let before_ns = content.overdue_before(now_ns);
        for publisher in 0..self.pending.len() {
            for _ in 0..self.plan.channel.replace_overdue(publisher, before_ns) {
                self.publish_next(publisher, now_ns);
            }
        }
        self.next_look_ns = now_ns + timeout.as_nanos() as u64 / 4;
    }

    /// Notes a delivery with its subscriber.
    fn record(&self, attendee: &mut Attendee, times: Published, now_ns: u64) {
        if !self.place.board.is_counted(times.due_ns) || self.has_settled {
            return;
        }
        let from_published = now_ns.saturating_sub(times.published_ns);
        let latency_ns = match self.plan.pace {
            Some(_) => {
                let from_due = now_ns.saturating_sub(times.due_ns);
                self.place.tally.readings().record_paced(from_due, from_published);
                from_due
            }
            None => {
                self.place.tally.record(from_published);
                from_published
            }
        };
        attendee.latency_max_ns = attendee.latency_max_ns.max(latency_ns);
    }

    /// A subscriber was lost: nobody waits for it any more, and it is owed what it has not
    /// received.
    fn give_up(&mut self, subscriber: &mut Subscriber, now_ns: u64) {
        let shard = self.place.shard.shard;
        for publisher in self.plan.publishers_for(subscriber.publisher) {
            let pending = &mut self.pending[publisher];
            let owed = self.plan.channel.unsubscribe(publisher, shard, pending);
            self.place.leave_unanswered(owed.into_iter());
            let range = subscriber.trackers.of(publisher).next()..self.pending[publisher].end();
            for sequence in range {
                let Some(delivery) = self.pending[publisher].deliver(sequence) else { continue };
                self.place.leave_unanswered([(delivery.times.due_ns, 1)].into_iter());
                if delivery.is_last {
                    self.complete(MessageName { publisher, sequence }, now_ns);
                }
            }
        }
    }

    /// The run is ending its connections: what this shard is owed will not come.
    fn settle(&mut self) {
        if std::mem::replace(&mut self.has_settled, true) {
            return;
        }
        self.publishers.borrow_mut().abandon(&self.place);
        for (publisher, pending) in self.pending.iter_mut().enumerate() {
            let owed = self.plan.channel.owed(publisher, self.place.shard.shard, pending);
            self.place.leave_unanswered(owed.into_iter());
        }
    }
}

impl Handler for Audience {
    type State = Subscriber;

    fn on_start(&mut self, outbound: &mut Outbound<Subscriber>) {
        if self.plan.pace.is_some() {
            let (publishers, place) = (Rc::clone(&self.publishers), Rc::clone(&self.place));
            ringsock::spawn(keep_pace(Rc::clone(&place), move || {
                publishers.borrow_mut().publish_due(&place)
            }));
        }
        self.opener.begin(&self.place);
        self.open(outbound);
    }

    fn on_upgrade(&mut self, _: &Request<'_>) -> Upgrade<Subscriber> {
        Upgrade::reject(Status::NOT_FOUND, "nothing is served here")
    }

    fn on_negotiated(&mut self, _: &mut Subscriber, negotiated: &Negotiated) {
        self.place.note_negotiated(&self.plan.target, negotiated);
    }

    fn on_open(&mut self, conn: &mut Conn<'_, Subscriber>) {
        if let Some(join) = &self.plan.join {
            // When it cannot be queued, the connection is ending, which is counted there.
            let _ = conn.send(Text(join));
        }
        let publisher = self.plan.channel.man(conn.peer());
        if let Some(publisher) = publisher {
            self.publishers.borrow_mut().join(publisher, conn.peer());
        }
        conn.state_mut().publisher = publisher;
        for publisher in self.plan.publishers_for(publisher) {
            self.plan.channel.subscribe(publisher, self.place.shard.shard);
        }
        self.opener.note_opened(conn.peer());
        // Afterwards: who sees that all are open may publish.
        self.place.welcome(&self.plan.target, conn);
        self.open(conn.outbound());
    }

    fn on_message(&mut self, conn: &mut Conn<'_, Subscriber>, message: Message<'_>) {
        let now_ns = self.place.board.nanoseconds();
        let Subscriber { trackers, attendee, .. } = conn.state_mut();
        let number = attendee.number;
        let Some(name) = self.plan.channel.name(&message, trackers.of(0).next()) else {
            if self.plan.join.is_none() {
                self.place.fault(|| {
                    format!("subscriber {number}: a message came that was never published")
                });
            }
            return;
        };
        match trackers.of(name.publisher).receive(name.sequence) {
            Receipt::First { late } => {
                self.place.tally.reordered.add(u64::from(late));
                attendee.reordered += u64::from(late);
            }
            Receipt::Again => {
                attendee.duplicates += 1;
                return self.place.tally.duplicated.add(1);
            }
        }
        attendee.received += 1;
        self.place.tally.note_received(message.bytes().len());
        if let Some(times) = self.deliver(name, now_ns) {
            self.record(attendee, times, now_ns);
        }
        match self.plan.channel.judge(number, name, &message) {
            Ok(true) => self.place.tally.compared.add(1),
            Ok(false) => {}
            Err(fault) => self.place.fault(|| format!("subscriber {number}: {fault}")),
        }
        if now_ns >= self.next_look_ns {
            self.look_for_overdue(now_ns);
        }
    }

    /// A connection that was silent is asked for a sign of life, and this is it; or another is due
    /// to be opened.
    fn on_pong(&mut self, conn: &mut Conn<'_, Subscriber>, _: &[u8]) {
        self.open(conn.outbound());
        self.look_for_overdue(self.place.board.nanoseconds());
    }

    fn on_close(&mut self, conn: &mut Conn<'_, Subscriber>, info: CloseInfo<'_>) {
        let subscriber = conn.state_mut();
        let number = subscriber.attendee.number;
        let publishers = self.plan.publishers_for(subscriber.publisher);
        let due = publishers.map(|publisher| self.plan.channel.published_by(publisher)).sum();
        if self.place.board.is_closing() {
            self.settle();
        } else {
            self.give_up(subscriber, self.place.board.nanoseconds());
        }
        self.place.tally.due.add(due);
        self.place.tally.readings().attend(Attendee { due, ..subscriber.attendee });
        self.place.lose(number, info);
    }

    fn on_connect_failed(
        &mut self,
        outbound: &mut Outbound<Subscriber>,
        subscriber: Subscriber,
        reason: &str,
    ) {
        self.place.miss(&self.plan.target, subscriber.attendee.number, reason);
        let left_out = self.opener.note_refused();
        self.place.tally.unopened.add(left_out as u64);
        self.open(outbound);
    }
}
