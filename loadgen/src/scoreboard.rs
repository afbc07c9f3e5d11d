//! What the main thread and the shards share during a run: the stage, written by the one, and the
//! counts, written by the others. It judges nothing and never makes a shard wait.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::failure::Failure;
use crate::readings::Readings;
use crate::subprotocols::Subprotocols;

/// What a run is doing. Stages only advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Connections are opened and messages flow, and nothing is measured.
    Warmup,
    /// What comes back is measured.
    Counting,
    /// Nothing more is due; what was due is still sent, and what is under way comes back.
    Draining,
    /// Nothing more is sent; what is under way comes back.
    Settling,
    /// Connections are ending because we end them.
    Closing,
}

/// A count that one thread writes and others may read.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds, as the only writer: a plain load and store, no locked instruction.
    #[inline]
    pub(crate) fn add(&self, amount: u64) {
        self.0.store(self.0.load(Ordering::Relaxed) + amount, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counts of one shard, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Tally {
    /// Connections asked for, where they come and go.
    pub(crate) started: Counter,
    /// Connections whose handshake is complete.
    pub(crate) opened: Counter,
    /// Those on which compression was agreed.
    pub(crate) compressed: Counter,
    /// Those on which it was offered and not agreed.
    pub(crate) uncompressed: Counter,
    /// Connections that could not be opened.
    pub(crate) unopened: Counter,
    /// Connections that ended although nobody here ended them.
    pub(crate) lost: Counter,
    /// Messages sent, and the bytes of their payloads.
    sent: Counter,
    sent_bytes: Counter,
    /// Messages received, and the bytes of their payloads.
    received: Counter,
    received_bytes: Counter,
    /// Messages received whose bytes were compared and right.
    pub(crate) compared: Counter,
    /// Messages received that were not what was due.
    pub(crate) wrong: Counter,
    /// Messages received once more than was due.
    pub(crate) duplicated: Counter,
    /// Messages received after one that was sent later.
    pub(crate) reordered: Counter,
    /// Messages that have been due in an open loop, sent or not; in a fan-out deliveries.
    pub(crate) due: Counter,
    /// Messages that were due in an open loop and never sent, because others had to wait.
    pub(crate) unsent: Counter,
    /// Messages whose answers will not come because their connection was lost.
    pub(crate) forfeited: Counter,
    /// One, when no more messages will be due in an open loop.
    pub(crate) exhausted: Counter,
    /// Pings sent.
    pub(crate) pings: Counter,
    /// Pings answered.
    pub(crate) pongs: Counter,
    /// Whole cycles of a connection, from its beginning to its end.
    pub(crate) cycles: Counter,
    readings: Mutex<Readings>,
    subprotocols: Mutex<Subprotocols>,
}

impl Tally {
    /// A message was sent.
    #[inline]
    pub(crate) fn note_sent(&self, payload_bytes: usize) {
        self.sent.add(1);
        self.sent_bytes.add(payload_bytes as u64);
    }

    /// A message was received that was due.
    #[inline]
    pub(crate) fn note_received(&self, payload_bytes: usize) {
        self.received_bytes.add(payload_bytes as u64);
        self.received.add(1);
    }

    /// A server has chosen a subprotocol, or none, of those that were offered.
    pub(crate) fn note_subprotocol(&self, chosen: Option<&str>) {
        lock(&self.subprotocols).note(chosen);
    }

    /// Adds a latency. The lock is the shard's own but for an instant now and then.
    #[inline]
    pub(crate) fn record(&self, nanoseconds: u64) {
        lock(&self.readings).latency.record(nanoseconds);
    }

    /// The histograms, to add to.
    pub(crate) fn readings(&self) -> MutexGuard<'_, Readings> {
        lock(&self.readings)
    }
}

/// Sums over all shards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) started: u64,
    pub(crate) opened: u64,
    pub(crate) compressed: u64,
    pub(crate) uncompressed: u64,
    pub(crate) unopened: u64,
    pub(crate) lost: u64,
    pub(crate) sent: u64,
    /// Of the payloads of those.
    pub(crate) sent_bytes: u64,
    pub(crate) received: u64,
    pub(crate) received_bytes: u64,
    pub(crate) compared: u64,
    pub(crate) wrong: u64,
    pub(crate) duplicated: u64,
    pub(crate) reordered: u64,
    pub(crate) due: u64,
    pub(crate) unsent: u64,
    pub(crate) forfeited: u64,
    pub(crate) exhausted: u64,
    pub(crate) pings: u64,
    pub(crate) pongs: u64,
    pub(crate) cycles: u64,
}

/// Shared by all threads of a run.
#[derive(Debug)]
pub(crate) struct Scoreboard {
    began: Instant,
    stage: AtomicU8,
    /// When an open loop begins; zero before that is known.
    schedule_began_ns: AtomicU64,
    /// From when on and until when messages are counted, by when they were due.
    counted_ns: [AtomicU64; 2],
    tallies: Mutex<Vec<Arc<Tally>>>,
    /// Messages that no shard counted as sent, because another thread sent them, and the bytes of
    /// their payloads.
    sent_from_outside: [AtomicU64; 2],
    failure: Mutex<Option<Failure>>,
    /// Why the first connection could not be opened that was not.
    refusal: Mutex<Option<Failure>>,
    first_fault: Mutex<Option<String>>,
}

impl Scoreboard {
    /// A board without shards, in the first stage.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            stage: AtomicU8::new(Stage::Warmup as u8),
            schedule_began_ns: AtomicU64::new(0),
            counted_ns: [AtomicU64::new(u64::MAX), AtomicU64::new(u64::MAX)],
            tallies: Mutex::default(),
            sent_from_outside: [AtomicU64::new(0), AtomicU64::new(0)],
            failure: Mutex::default(),
            refusal: Mutex::default(),
            first_fault: Mutex::default(),
        })
    }

    /// How many shards there are.
    pub(crate) fn shards(&self) -> u64 {
        lock(&self.tallies).len() as u64
    }

    /// Adds a shard; the tally is its own to write.
    pub(crate) fn join(&self) -> Arc<Tally> {
        let tally = Arc::new(Tally::default());
        lock(&self.tallies).push(Arc::clone(&tally));
        tally
    }

    /// Nanoseconds since the run began.
    #[inline]
    pub(crate) fn nanoseconds(&self) -> u64 {
        self.began.elapsed().as_nanos() as u64
    }

    /// Whether latencies count now.
    #[inline]
    pub(crate) fn is_counting(&self) -> bool {
        self.stage.load(Ordering::Relaxed) == Stage::Counting as u8
    }

    /// Whether new messages are to be sent.
    #[inline]
    pub(crate) fn is_sending(&self) -> bool {
        self.stage.load(Ordering::Relaxed) < Stage::Draining as u8
    }

    /// Whether messages that were due before may still be sent.
    #[inline]
    pub(crate) fn is_catching_up(&self) -> bool {
        self.stage.load(Ordering::Relaxed) < Stage::Settling as u8
    }

    /// Whether connections end because we end them.
    pub(crate) fn is_closing(&self) -> bool {
        self.stage.load(Ordering::Relaxed) >= Stage::Closing as u8
    }

    /// Says which messages are counted: those due between these times. Until it is said none are.
    pub(crate) fn count_between(&self, from_ns: u64, to_ns: u64) {
        let [from, to] = &self.counted_ns;
        from.store(from_ns, Ordering::Relaxed);
        to.store(to_ns, Ordering::Relaxed);
    }

    /// When the last message that is counted is due before.
    pub(crate) fn counted_end_ns(&self) -> u64 {
        self.counted_ns[1].load(Ordering::Relaxed)
    }

    /// Whether a message due at this time belongs to what is counted.
    #[inline]
    pub(crate) fn is_counted(&self, due_ns: u64) -> bool {
        let [from, to] = &self.counted_ns;
        due_ns >= from.load(Ordering::Relaxed) && due_ns < to.load(Ordering::Relaxed)
    }

    /// Lets the schedules of an open loop begin at this time.
    pub(crate) fn begin_schedule(&self, at_ns: u64) {
        self.schedule_began_ns.store(at_ns.max(1), Ordering::Relaxed);
    }

    /// When the schedules begin, once that is known.
    pub(crate) fn schedule_began_ns(&self) -> Option<u64> {
        Some(self.schedule_began_ns.load(Ordering::Relaxed)).filter(|&began| began > 0)
    }

    /// Enters a stage. What is counted ends with the draining at the latest.
    pub(crate) fn enter(&self, stage: Stage) {
        if stage >= Stage::Draining {
            self.counted_ns[1].fetch_min(self.nanoseconds(), Ordering::Relaxed);
        }
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    /// Ends the run; the first failure is the one that is told.
    pub(crate) fn fail(&self, failure: Failure) {
        lock(&self.failure).get_or_insert(failure);
    }

    /// The failure, if there was one.
    pub(crate) fn failure(&self) -> Option<Failure> {
        lock(&self.failure).clone()
    }

    /// A connection could not be opened, which is a failure only when none can; the first reason is
    /// kept.
    pub(crate) fn note_refusal(&self, failure: Failure) {
        lock(&self.refusal).get_or_insert(failure);
    }

    /// Why the first connection could not be opened.
    pub(crate) fn refusal(&self) -> Option<Failure> {
        lock(&self.refusal).clone()
    }

    /// Keeps the first fault, to be told beside the counts.
    pub(crate) fn note_fault(&self, describe: impl FnOnce() -> String) {
        lock(&self.first_fault).get_or_insert_with(describe);
    }

    /// The first fault.
    pub(crate) fn first_fault(&self) -> Option<String> {
        lock(&self.first_fault).clone()
    }

    /// Counts messages that are sent from outside the shards, each with a payload of so many bytes.
    pub(crate) fn add_sent(&self, messages: u64, payload_bytes: usize) {
        let [sent, sent_bytes] = &self.sent_from_outside;
        sent.fetch_add(messages, Ordering::Relaxed);
        sent_bytes.fetch_add(messages * payload_bytes as u64, Ordering::Relaxed);
    }

    /// What was chosen of the subprotocols that were offered; `None` where none were.
    pub(crate) fn subprotocols(&self) -> Option<Subprotocols> {
        let mut all = Subprotocols::default();
        for tally in lock(&self.tallies).iter() {
            all.merge(&lock(&tally.subprotocols));
        }
        (!all.is_empty()).then_some(all)
    }

    /// The sums at this moment. What comes back is read before what was sent, so that nothing that
    /// is under way can look as if it had come back.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        let tallies = lock(&self.tallies);
        for tally in tallies.iter() {
            totals.received += tally.received.get();
            totals.received_bytes += tally.received_bytes.get();
            totals.cycles += tally.cycles.get();
            totals.pongs += tally.pongs.get();
            totals.unsent += tally.unsent.get();
            totals.forfeited += tally.forfeited.get();
            totals.exhausted += tally.exhausted.get();
        }
        for tally in tallies.iter() {
            totals.started += tally.started.get();
            totals.opened += tally.opened.get();
            totals.compressed += tally.compressed.get();
            totals.uncompressed += tally.uncompressed.get();
            totals.unopened += tally.unopened.get();
            totals.lost += tally.lost.get();
            totals.sent += tally.sent.get();
            totals.sent_bytes += tally.sent_bytes.get();
            totals.compared += tally.compared.get();
            totals.wrong += tally.wrong.get();
            totals.duplicated += tally.duplicated.get();
            totals.reordered += tally.reordered.get();
            totals.due += tally.due.get();
            totals.pings += tally.pings.get();
        }
        let [sent, sent_bytes] = &self.sent_from_outside;
        totals.sent += sent.load(Ordering::Relaxed);
        totals.sent_bytes += sent_bytes.load(Ordering::Relaxed);
        totals
    }

    /// Adds to `all` what the shards have measured since the last time. Each shard goes on with
    /// the empty histograms of `spares`, and is not kept waiting.
    pub(crate) fn harvest(&self, all: &mut Readings, spares: &mut Vec<Readings>) {
        let tallies = lock(&self.tallies).clone();
        spares.resize_with(tallies.len().max(spares.len()), Readings::default);
        for (tally, spare) in tallies.iter().zip(spares) {
            std::mem::swap(&mut *lock(&tally.readings), spare);
            all.merge(spare);
            spare.clear();
        }
    }
}

/// A thread that panicked leaves counts that are as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_latencies_are_summed_over_shards() {
        let board = Scoreboard::new();
        for amount in [1, 10] {
            let tally = board.join();
            tally.note_sent(amount as usize);
            tally.note_sent(amount as usize);
            tally.note_received(amount as usize);
            tally.record(amount * 1000);
        }
        let totals = board.totals();
        assert_eq!((totals.sent, totals.received, totals.lost), (4, 2, 0));
        assert_eq!((totals.sent_bytes, totals.received_bytes), (22, 11));
        board.add_sent(3, 100);
        assert_eq!((board.totals().sent, board.totals().sent_bytes), (7, 322));
        let (mut all, mut spares) = (Readings::default(), Vec::new());
        board.harvest(&mut all, &mut spares);
        assert_eq!(all.latency.count(), 2);
        board.harvest(&mut all, &mut spares);
        assert_eq!(all.latency.count(), 2, "nothing is counted twice");
    }

    #[test]
    fn subprotocols_are_told_only_where_some_were_offered() {
        let board = Scoreboard::new();
        let tallies = [board.join(), board.join()];
        assert_eq!(board.subprotocols(), None);
        tallies.iter().for_each(|tally| tally.note_subprotocol(None));
        assert_eq!(board.subprotocols().map(|all| all.none()), Some(2));
    }

    #[test]
    fn the_first_failure_and_the_first_fault_are_kept() {
        let board = Scoreboard::new();
        for text in ["first", "second"] {
            board.fail(Failure::usage(text));
            board.note_fault(|| text.to_owned());
        }
        assert_eq!(board.failure(), Some(Failure::usage("first")));
        assert_eq!(board.first_fault().as_deref(), Some("first"));
    }

    #[test]
    fn a_message_is_counted_by_when_it_was_due() {
        let board = Scoreboard::new();
        assert!(!board.is_counted(board.nanoseconds()));
        board.count_between(100, u64::MAX);
        assert_eq!([99, 100, u64::MAX - 1].map(|due| board.is_counted(due)), [false, true, true]);
        std::thread::sleep(std::time::Duration::from_millis(1));
        board.enter(Stage::Draining);
        assert!(board.is_counted(100), "its answer may come after the end");
        assert!(!board.is_counted(board.nanoseconds() + 1), "nothing more is due");
        board.count_between(100, 200);
        board.enter(Stage::Draining);
        assert_eq!(board.counted_end_ns(), 200);
    }

    #[test]
    fn stages_say_what_may_still_happen() {
        let board = Scoreboard::new();
        for (stage, may) in [
            (Stage::Warmup, [true, false, true, false]),
            (Stage::Counting, [true, true, true, false]),
            (Stage::Draining, [false, false, true, false]),
            (Stage::Settling, [false, false, false, false]),
            (Stage::Closing, [false, false, false, true]),
        ] {
            board.enter(stage);
            let sends = [board.is_sending(), board.is_counting(), board.is_catching_up()];
            assert_eq!([&sends[..], &[board.is_closing()]].concat(), may, "{stage:?}");
        }
    }
}
