//! The fan-out load of one shard: its subscribers, each of which is due every message in order.
//! In a closed loop a message that has reached everybody is followed by the next; in an open loop
//! messages are published when they are due.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use ringsock::protocol::handshake::Status;
use ringsock::{CloseInfo, Conn, Handler, Message, Outbound, Peer, Request, Text, Upgrade};

use super::channel::{Channel, MessageName, Published};
use super::opener::{HANDSHAKES_MAX, Opener};
use super::place::Place;
use super::tracker::{Receipt, Tracker};
use crate::alarm::Alarm;
use crate::composer::Composer;
use crate::failure::Failure;
use crate::schedule::{Arrivals, Schedule, Share};
use crate::target::Target;

/// The longest time between two looks at the stage of the run.
const GLANCE_NS: u64 = 5_000_000;

/// What a fan-out run does.
#[derive(Debug)]
pub(crate) struct FanoutPlan {
    pub(crate) target: Arc<Target>,
    pub(crate) connections: usize,
    pub(crate) channel: Channel,
    /// Messages a second of all publishers together, in an open loop.
    pub(crate) rate: Option<(f64, Arrivals)>,
    /// Whether a publisher receives its own messages.
    pub(crate) reaches_self: bool,
    /// What each connection sends first.
    pub(crate) join: Option<String>,
}

impl FanoutPlan {
    /// Subscribers that are due each message.
    pub(crate) fn audience(&self) -> usize {
        self.connections - usize::from(!self.reaches_self)
    }
}

/// One subscriber. The first ones publish as well.
#[derive(Debug)]
pub(crate) struct Subscriber {
    number: u32,
    trackers: Trackers,
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

/// How many of this shard have not received a message.
#[derive(Clone, Copy, Debug)]
struct Missing {
    sequence: u64,
    subscribers: usize,
}

/// One shard's subscribers.
pub(crate) struct Audience {
    plan: Arc<FanoutPlan>,
    place: Rc<Place>,
    opener: Opener,
    /// By publisher: the subscribers of this shard.
    shares: Box<[usize]>,
    /// By publisher and message under way.
    missing: Box<[Missing]>,
    publishers: Publishers,
    composer: Composer,
}

impl Audience {
    pub(crate) fn new(plan: &Arc<FanoutPlan>, place: Place) -> Self {
        let opener = Opener::new(&plan.target, &place.board, place.shard, plan.connections);
        let (share, shard) = (opener.left(), place.shard);
        let share_of = |publisher| {
            let own = publisher % shard.shards == shard.shard && !plan.reaches_self;
            let share = share - usize::from(own);
            if share > 0 {
                plan.channel.join(publisher);
            }
            share
        };
        let shares: Box<[usize]> = (0..plan.channel.publishers()).map(share_of).collect();
        let none = Missing { sequence: u64::MAX, subscribers: 0 };
        let missing = vec![none; shares.len() * plan.channel.slots()].into();
        let composer = plan.channel.content().composer();
        let (plan, place, publishers) = (Arc::clone(plan), Rc::new(place), Publishers::default());
        Self { plan, place, opener, shares, missing, publishers, composer }
    }

    fn open(&mut self, outbound: &mut Outbound<Subscriber>, count: usize) {
        let publishers = self.shares.len();
        self.opener.open(outbound, count, |number| {
            let trackers = match publishers {
                1 => Trackers::One(Tracker::default()),
                _ => Trackers::Many(vec![Tracker::default(); publishers].into()),
            };
            Subscriber { number, trackers }
        });
    }

    /// One more of this shard has received this message.
    fn deliver(&mut self, name: MessageName, now_ns: u64) {
        let slots = self.plan.channel.slots();
        let index = name.publisher * slots + (name.sequence % slots as u64) as usize;
        let missing = &mut self.missing[index];
        if missing.sequence != name.sequence {
            let subscribers = self.shares[name.publisher];
            *missing = Missing { sequence: name.sequence, subscribers };
        }
        missing.subscribers = missing.subscribers.saturating_sub(1);
        if missing.subscribers == 0 {
            self.complete(name, now_ns);
        }
    }

    /// All of this shard have received this message.
    fn complete(&mut self, name: MessageName, now_ns: u64) {
        let (channel, board) = (&self.plan.channel, &self.place.board);
        let times = channel.times(name);
        if !channel.leave(name) {
            return;
        }
        if let Some(times) = times
            && self.place.board.is_counted(times.due_ns)
        {
            let completion_ns = now_ns.saturating_sub(times.published_ns);
            self.place.tally.readings().record_completion(completion_ns);
        }
        if self.plan.rate.is_none() && board.is_sending() {
            let times = Published { due_ns: now_ns, published_ns: now_ns };
            channel.publish(name.publisher, times, &mut self.composer);
        }
    }

    fn record(&self, times: Published, now_ns: u64) {
        let from_published = now_ns.saturating_sub(times.published_ns);
        match self.plan.rate {
            Some(_) => {
                let from_due = now_ns.saturating_sub(times.due_ns);
                self.place.tally.readings().record_paced(from_due, from_published);
            }
            None => self.place.tally.record(from_published),
        }
    }
}

/// A shard's publishers, by number.
type Publishers = Rc<RefCell<Vec<(usize, Peer)>>>;

/// Publishes what is due from this shard, its publishers in turns, until the run ends.
async fn keep_publishing(plan: Arc<FanoutPlan>, place: Rc<Place>, publishers: Publishers) {
    let Some((rate, arrivals)) = plan.rate else { return };
    let board = &place.board;
    let failed = |error| board.fail(Failure::usage(format!("the machine gives no timer: {error}")));
    let alarm = match Alarm::new() {
        Ok(alarm) => alarm,
        Err(error) => return failed(error),
    };
    let mut composer = plan.channel.content().composer();
    let (mut schedule, mut turn) = (None, 0);
    while board.is_sending() {
        let mut pause_ns = GLANCE_NS / 5;
        let own = publishers.borrow().len();
        if let (Some(began_ns), 1..) = (board.schedule_began_ns(), own) {
            let share = Share {
                shard: place.shard.shard,
                shards: place.shard.shards,
                senders: own,
                senders_of_all: plan.channel.publishers(),
            };
            let schedule =
                schedule.get_or_insert_with(|| Schedule::new(rate, arrivals, began_ns, share));
            let mut now_ns = board.nanoseconds();
            while let Some(due_ns) = schedule.due(now_ns) {
                let publisher = publishers.borrow()[turn];
                let times = Published { due_ns, published_ns: now_ns };
                plan.channel.publish_near(publisher, times, &mut composer);
                turn = (turn + 1) % own;
                if board.is_counted(due_ns) {
                    place.tally.readings().record_lag(now_ns.saturating_sub(due_ns));
                }
                now_ns = board.nanoseconds();
            }
            pause_ns = schedule.next_ns().saturating_sub(now_ns).min(GLANCE_NS);
        }
        if let Err(error) = alarm.sleep(pause_ns).await {
            return failed(error);
        }
    }
}

impl Handler for Audience {
    type State = Subscriber;

    fn on_start(&mut self, outbound: &mut Outbound<Subscriber>) {
        if self.plan.rate.is_some() {
            let (plan, place) = (Arc::clone(&self.plan), Rc::clone(&self.place));
            ringsock::spawn(keep_publishing(plan, place, Rc::clone(&self.publishers)));
        }
        self.open(outbound, HANDSHAKES_MAX);
    }

    fn on_upgrade(&mut self, _: &Request<'_>) -> Upgrade<Subscriber> {
        Upgrade::reject(Status::NOT_FOUND, "nothing is served here")
    }

    fn on_open(&mut self, conn: &mut Conn<'_, Subscriber>) {
        self.place.tally.opened.add(1);
        let number = conn.state().number as usize;
        if let Some(join) = &self.plan.join {
            // When it cannot be queued, the connection is ending, which is counted there.
            let _ = conn.send(Text(join));
        }
        if number < self.plan.channel.publishers() {
            self.plan.channel.set_publisher(number, conn.peer().remote());
            self.publishers.borrow_mut().push((number, conn.peer()));
        }
        self.open(conn.outbound(), 1);
    }

    fn on_message(&mut self, conn: &mut Conn<'_, Subscriber>, message: Message<'_>) {
        let now_ns = self.place.board.nanoseconds();
        let Subscriber { number, trackers } = conn.state_mut();
        let (number, channel) = (*number, &self.plan.channel);
        let Some(name) = channel.name(&message, trackers.of(0).next()) else {
            if self.plan.join.is_none() {
                self.place.fault(|| {
                    format!("subscriber {number}: a message came that was never published")
                });
            }
            return;
        };
        let tally = &self.place.tally;
        match trackers.of(name.publisher).receive(name.sequence) {
            Receipt::First { late } => tally.reordered.add(u64::from(late)),
            Receipt::Again => return tally.duplicated.add(1),
        }
        tally.received.add(1);
        if let Some(times) = channel.times(name)
            && self.place.board.is_counted(times.due_ns)
        {
            self.record(times, now_ns);
        }
        match channel.judge(number, name, &message) {
            Ok(true) => self.place.tally.compared.add(1),
            Ok(false) => {}
            Err(fault) => self.place.fault(|| format!("subscriber {number}: {fault}")),
        }
        self.deliver(name, now_ns);
    }

    fn on_close(&mut self, conn: &mut Conn<'_, Subscriber>, info: CloseInfo<'_>) {
        self.place.lose(conn.state().number, info);
    }

    fn on_connect_failed(&mut self, _: &mut Outbound<Subscriber>, _: Subscriber, reason: &str) {
        self.place.fail_to_open(&self.plan.target, reason);
    }
}
