//! The shards that make the load, and the main thread's view of them: starts them, waits, measures
//! a window, ends them. What they do on their connections is the modes' business.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ringsock::protocol::HEADER_BYTES_MAX;
use ringsock::{Cores, Handler, Limits, MIB, Running, Server};
use rustix::process::{Resource, getrlimit};
use rustix::system::sysinfo;
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::cli::EngineArguments;
use crate::content::Content;
use crate::failure::{Failure, Phase};
use crate::interrupt;
use crate::loads::Place;
use crate::output::mib;
use crate::procfs::ProcessSample;
use crate::scoreboard::{Scoreboard, Stage, Totals};
use crate::system_calls::SystemCalls;
use crate::target::Target;
use crate::usage::{Sample, Window};
use crate::watch::Watch;
use crate::wire::WireSample;

/// Time from the order to begin until the first message of an open loop is due, so that all shards
/// have read the order.
const HEAD_START_NS: u64 = 20_000_000;
/// Pause between two looks at the counts.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// Time without any progress after which waiting is given up. Longer than a handshake may take.
const PATIENCE: Duration = Duration::from_secs(12);
/// Time given to what was due and is not sent yet, and to what is under way.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// Time without any answer after which what is under way counts as lost.
const QUIET_MAX: Duration = Duration::from_millis(2500);
/// Time over which connections are closed at the end.
const DRAIN_WINDOW: Duration = Duration::from_millis(1);
/// Time for a closing handshake.
const CLOSE_MAX: Duration = Duration::from_secs(2);
/// Time after which shards are ended whatever their connections do.
const END_MAX: Duration = Duration::from_secs(6);
/// Time for a shard to say what it has sent and received; without an answer it is not told.
const REPORT_MAX: Duration = Duration::from_secs(1);
/// Times that a connection may stay silent when it is asked for a sign of life.
const SILENCES_MAX: u32 = 100;
/// Memory of each shard for the compression contexts of its connections.
const CONTEXTS_BYTES_MAX: usize = 4096 * MIB;
/// Memory for messages that is allowed whatever the load is: it is divided among the shards.
const MEMORY_BYTES_MIN: usize = 1024 * MIB;
/// Longest message that is received.
const MESSAGE_BYTES_MAX: usize = 64 * MIB;

/// Running shards with their scoreboard.
pub(crate) struct Crew {
    /// Until they are ended in order.
    running: Option<Running>,
    driver: String,
    board: Arc<Scoreboard>,
    target: Target,
    server_pid: Option<u32>,
    /// Counts those of the server, if that was asked for.
    system_calls: RefCell<Option<SystemCalls>>,
}

/// What is watched of a server.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Watched {
    /// Its process, if that is known.
    pub(crate) process: Option<u32>,
    /// Whether all its system calls are counted.
    pub(crate) counts_calls: bool,
}

/// What a message waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loop {
    /// The answer to another.
    Closed,
    /// Its time.
    Open,
}

/// How much there is at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoadSize {
    pub(crate) connections: usize,
    /// Bytes that one connection may have to send.
    pub(crate) queue_bytes: usize,
    /// Bytes that all of them may have to send and to put together.
    pub(crate) memory_bytes: usize,
    /// Messages that the main thread may send.
    pub(crate) mailbox_messages: usize,
    /// Silence after which a connection is asked for a sign of life, which lets it look at what it
    /// still waits for.
    pub(crate) silence_max: Option<Duration>,
}

impl LoadSize {
    /// Messages of this kind that each of so many connections may have under way with the memory
    /// that there is, at least one.
    pub(crate) fn pipeline_max(connections: usize, content: &Content) -> usize {
        let frame_bytes = content.pattern.payload_bytes() + HEADER_BYTES_MAX;
        (memory_bytes_max() / connections / frame_bytes).saturating_sub(1).max(1)
    }

    /// Whether this machine can hold it.
    fn check(&self) -> Result<(), Failure> {
        let files = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        if self.connections as u64 > files / 10 * 9 {
            return Err(Failure::usage(format!(
                "{} connections need more files than this process may open, which are {files}: raise \
                 the hard limit (ulimit -Hn, LimitNOFILE= of a unit), or ask for {} at most",
                self.connections,
                files / 10 * 9
            )));
        }
        let most = memory_bytes_max();
        if self.memory_bytes <= most {
            return Ok(());
        }
        Err(Failure::usage(format!(
            "{} connections may have {} MiB under way here, and {} MiB of memory are to be used at \
             most: ask for fewer connections, a smaller payload or less under way on each",
            self.connections,
            mib(self.memory_bytes as u64),
            mib(most as u64)
        )))
    }

    /// So many connections with so many messages under way on each.
    pub(crate) fn new(connections: usize, content: &Content, pipeline: usize) -> Self {
        let frame_bytes = content.pattern.payload_bytes() + HEADER_BYTES_MAX;
        let queue_bytes = frame_bytes.saturating_mul(pipeline);
        Self {
            connections,
            queue_bytes,
            memory_bytes: connections.saturating_mul(queue_bytes.saturating_add(frame_bytes)),
            mailbox_messages: connections,
            silence_max: content.answer_timeout,
        }
    }
}

impl Crew {
    /// Starts shards for a load of this size.
    pub(crate) fn start<H, F>(
        engine: &EngineArguments,
        target: &Target,
        server: Watched,
        load: LoadSize,
        factory: F,
    ) -> Result<Self, Failure>
    where
        H: Handler,
        F: Fn(Place) -> H + Send + Sync + 'static,
    {
        load.check()?;
        server.process.map(sample_server).transpose()?;
        let counted = server.process.filter(|_| server.counts_calls);
        let system_calls = RefCell::new(counted.map(SystemCalls::attach).transpose()?);
        let board = Scoreboard::new();
        let shared = Arc::clone(&board);
        let running = Server::builder()
            .cores(engine.cores.clone())
            .driver(engine.driver)
            .limits(limits(load))
            .start(move |shard| {
                let (board, tally) = (Arc::clone(&shared), shared.join());
                factory(Place { shard, board, tally })
            })
            .map_err(|error| Failure::usage(error.to_string()))?;
        stay_on(&engine.cores);
        let driver = running.driver().to_string();
        let (running, target, server_pid) = (Some(running), target.clone(), server.process);
        Ok(Self { running, driver, board, target, server_pid, system_calls })
    }

    /// The driver that the load runs on.
    pub(crate) fn driver(&self) -> String {
        self.driver.clone()
    }

    /// The counts and the stage.
    pub(crate) fn board(&self) -> &Scoreboard {
        &self.board
    }

    /// Waits until the counts are as wanted, or nothing moves any more: connections that cannot be
    /// opened are a failure, messages that do not come are a result. Fails also when a shard does.
    pub(crate) fn wait_until(
        &self,
        phase: Phase,
        watch: &mut Watch,
        mut reached: impl FnMut(&Totals) -> bool,
    ) -> Result<(), Failure> {
        let (mut last, mut moved) = (self.board.totals(), Instant::now());
        loop {
            let totals = self.board.totals();
            if let Some(failure) = self.board.failure() {
                return Err(failure);
            }
            if reached(&totals) {
                return Ok(());
            }
            if interrupt::is_interrupted() {
                // What was measured so far is told; before that there is nothing to tell.
                return if phase == Phase::Echo { Ok(()) } else { Err(Failure::interrupted()) };
            }
            if totals != last {
                (last, moved) = (totals, Instant::now());
            } else if moved.elapsed() > PATIENCE {
                let cause = format!(
                    "nothing has come for {} s: {} connections opened, {} messages received",
                    PATIENCE.as_secs(),
                    totals.opened,
                    totals.received
                );
                let failure = Failure::of_server(&self.target, phase, &cause);
                if phase != Phase::Echo {
                    return Err(failure);
                }
                self.board.note_fault(|| failure.to_string());
                return Ok(());
            }
            watch.look(&self.board, &totals);
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Waits until so many connections are open or have been refused; how many are open. It is a
    /// failure when none is.
    pub(crate) fn wait_for_open(
        &self,
        connections: usize,
        watch: &mut Watch,
    ) -> Result<u64, Failure> {
        self.wait_until(Phase::Handshake, watch, |totals| {
            totals.opened + totals.unopened >= connections as u64
        })?;
        self.opened()
    }

    /// How many connections have been opened, or why none.
    pub(crate) fn opened(&self) -> Result<u64, Failure> {
        match (self.board.totals().opened, self.board.refusal()) {
            (0, Some(refusal)) => Err(refusal),
            (opened, _) => Ok(opened),
        }
    }

    /// Lets time pass with messages flowing, until a moment of the board's clock.
    fn pass(&self, step: &'static str, end_ns: u64, watch: &mut Watch) -> Result<(), Failure> {
        let left = || Duration::from_nanos(end_ns.saturating_sub(self.board.nanoseconds()));
        watch.begin(step, Some(left()));
        while !left().is_zero() && !interrupt::is_interrupted() {
            let totals = self.board.totals();
            if let Some(failure) = self.board.failure() {
                return Err(failure);
            }
            watch.look(&self.board, &totals);
            // The last look is at the end and not some time after it.
            thread::sleep(left().min(POLL_INTERVAL));
        }
        Ok(())
    }

    /// Begins to count.
    pub(crate) fn start_counting(&self) -> Result<Sample, Failure> {
        if interrupt::is_interrupted() {
            return Err(Failure::interrupted());
        }
        self.count_system_calls();
        self.board.enter(Stage::Counting);
        Ok(self.sample())
    }

    /// Counts the server's system calls from now on, if that was asked for.
    pub(crate) fn count_system_calls(&self) {
        if let Some(calls) = &mut *self.system_calls.borrow_mut() {
            calls.begin();
        }
    }

    /// What happened since counting began, and what it cost.
    pub(crate) fn counted_since(&self, before: &Sample) -> Window {
        let mut calls = self.system_calls.borrow_mut();
        calls.iter_mut().for_each(SystemCalls::pause);
        let window = Window::between(before, &self.sample());
        window.with_system_calls(calls.as_mut().and_then(SystemCalls::end))
    }

    /// Lets messages flow, and counts what is due for so long behind the warm-up. `begin` is told
    /// when the first message is due, which is a moment ahead for an open loop.
    pub(crate) fn count(
        &self,
        pace: Loop,
        (warmup, duration): (Duration, Duration),
        watch: &mut Watch,
        begin: impl FnOnce(u64),
    ) -> Result<Window, Failure> {
        let now_ns = self.board.nanoseconds();
        let began_ns = if pace == Loop::Open { now_ns + HEAD_START_NS } else { now_ns };
        let from_ns = began_ns + warmup.as_nanos() as u64;
        let to_ns = from_ns + duration.as_nanos() as u64;
        self.board.count_between(from_ns, to_ns);
        begin(began_ns);
        self.pass("warming up", from_ns, watch)?;
        let before = self.start_counting()?;
        self.pass("measuring", to_ns, watch)?;
        watch.conclude(&self.board);
        Ok(self.counted_since(&before))
    }

    /// Nothing more is due: waits until what was due is sent and what is under way has come, but not
    /// for ever.
    pub(crate) fn drain(&self, mut settled: impl FnMut(&Totals) -> bool) {
        self.board.enter(Stage::Draining);
        if !self.is_quiet_within(DRAIN_MAX, &mut settled) {
            self.board.enter(Stage::Settling);
            self.is_quiet_within(QUIET_MAX, &mut settled);
        }
    }

    /// Nothing more is due, and this is all the time that is left, or less if the user has enough.
    pub(crate) fn drain_for(&self, time_max: Duration, mut settled: impl FnMut(&Totals) -> bool) {
        self.board.enter(Stage::Draining);
        self.is_quiet_within(time_max, &mut |totals| {
            settled(totals) || interrupt::is_interrupted()
        });
    }

    /// Waits until the condition holds or nothing comes any more; whether it has come to that.
    fn is_quiet_within(
        &self,
        time_max: Duration,
        settled: &mut impl FnMut(&Totals) -> bool,
    ) -> bool {
        let end = Instant::now() + time_max;
        let (mut last, mut moved) = (self.board.totals(), Instant::now());
        while Instant::now() < end && moved.elapsed() < QUIET_MAX {
            let totals = self.board.totals();
            if settled(&totals) || self.board.failure().is_some() {
                return true;
            }
            if totals != last {
                (last, moved) = (totals, Instant::now());
            }
            thread::sleep(POLL_INTERVAL);
        }
        moved.elapsed() >= QUIET_MAX
    }

    /// Ends all connections with a closing handshake, then the shards; the final counts.
    pub(crate) fn end(mut self) -> Result<Arc<Scoreboard>, Failure> {
        self.board.enter(Stage::Closing);
        if let Some(running) = self.running.take() {
            let controller = running.controller();
            controller.drain();
            thread::spawn(move || {
                thread::sleep(END_MAX);
                controller.stop();
            });
            running.join().map_err(|error| Failure::usage(error.to_string()))?;
        }
        Ok(Arc::clone(&self.board))
    }

    /// What both sides have used and what was counted so far.
    pub(crate) fn sample(&self) -> Sample {
        Sample {
            // One that has ended is told where what it used is missing.
            server: self.server_pid.and_then(|process| ProcessSample::of(process).ok()),
            client: ProcessSample::of_self(),
            totals: self.board.totals(),
            taken: Instant::now(),
            wire: self
                .running
                .as_ref()
                .and_then(|running| WireSample::of(&running.controller().reports(REPORT_MAX, 0))),
        }
    }
}

/// A run that failed leaves no connections behind, for another may follow.
impl Drop for Crew {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            self.board.enter(Stage::Closing);
            running.controller().stop();
            // The failure that led here is what is told.
            let _ = running.join();
        }
    }
}

/// Samples the process that the user says is the server.
pub(crate) fn sample_server(process: u32) -> Result<ProcessSample, Failure> {
    ProcessSample::of(process).map_err(|error| {
        let cause = match error.kind() {
            ErrorKind::NotFound => "there is no such process".to_owned(),
            _ => error.to_string(),
        };
        Failure::usage(format!("--server-pid {process}: {cause}"))
    })
}

fn shards_max() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Memory that messages under way may take: half of what the machine has.
fn memory_bytes_max() -> usize {
    let machine = sysinfo();
    (machine.totalram as usize).saturating_mul(machine.mem_unit as usize) / 2
}

/// Keeps this thread, which only looks at the counts, off the cores that are not for load: the
/// server is on one of them. Called when the shards run, which have their own cores already.
fn stay_on(cores: &Cores) {
    let Cores::List(cores) = cores else { return };
    let mut set = CpuSet::new();
    cores.iter().filter(|&&core| core < CpuSet::MAX_CPU).for_each(|&core| set.set(core));
    // When it is refused, the thread goes where the system likes, as it would have anyway.
    let _ = sched_setaffinity(None, &set);
}

/// The engine's bounds, as wide as the run needs: a load generator that paused, pinged or dropped
/// a connection by itself would measure itself.
fn limits(load: LoadSize) -> Limits {
    let day = Duration::from_secs(24 * 3600);
    let queue_bytes = load.queue_bytes + MIB;
    Limits {
        message_bytes_max: MESSAGE_BYTES_MAX,
        send_queue_bytes_max: queue_bytes,
        receive_pause_bytes: queue_bytes,
        write_stall_timeout: day,
        assembly_timeout: day,
        ping_interval: load.silence_max.unwrap_or(day),
        ping_misses_max: SILENCES_MAX,
        close_timeout: CLOSE_MAX,
        // Our connections all end at once; the server is what is measured, and it no longer is.
        drain_window: DRAIN_WINDOW,
        // It is divided among the shards, however their connections are.
        memory_bytes_max: load.memory_bytes.saturating_mul(2 * shards_max()) + MEMORY_BYTES_MIN,
        deflate_contexts_bytes_max: CONTEXTS_BYTES_MAX,
        connections_max: load.connections.clamp(1, 1 << 24),
        mailbox_commands_max: load.mailbox_messages.clamp(1024, 1 << 24),
        ..Limits::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::{Pattern, Verify};
    use ringsock::protocol::MessageKind;

    fn content(payload_bytes: usize) -> Content {
        let pattern = Pattern::new(MessageKind::Binary, payload_bytes);
        Content { pattern, verify: Verify::None, answer_timeout: None }
    }

    #[test]
    fn our_own_limits_are_wider_than_the_load() {
        for (connections, payload_bytes, pipeline) in
            [(1, 0, 1), (16, 64 * MIB, 1), (4, 4 * MIB, 50), (15_000, 20, 16), (64, 1000, 10_000)]
        {
            let load = LoadSize::new(connections, &content(payload_bytes), pipeline);
            let limits = limits(load);
            assert_eq!(limits.validate(), Ok(()));
            assert!(limits.send_queue_bytes_max > pipeline * payload_bytes);
            assert!(limits.receive_pause_bytes > pipeline * payload_bytes);
            // Both directions at once, and connections are refused from nine tenths on.
            let held = connections * payload_bytes * (pipeline + 1);
            assert!(limits.memory_bytes_max / 10 * 9 > held, "{connections} {payload_bytes}");
            let of_shard = limits.memory_bytes_max / shards_max() / 10 * 9;
            assert!(connections > 1 || of_shard > held, "{payload_bytes}");
        }
    }

    #[test]
    fn a_load_that_does_not_fit_into_the_machine_is_refused_before_it_is_made() {
        let load = LoadSize::new(10_000, &content(64 * MIB), 1000);
        let refused = load.check().unwrap_err();
        assert!(refused.to_string().starts_with("10000 connections may have "), "{refused}");
        assert!(!refused.to_string().contains('\n') && refused.exit_code() == 2);
        let content = content(100);
        let pipeline = LoadSize::pipeline_max(64, &content);
        assert_eq!(LoadSize::new(64, &content, pipeline).check(), Ok(()));
        let refused = LoadSize::new(1 << 40, &content, 1).check().unwrap_err().to_string();
        assert!(refused.contains("ulimit -Hn") || refused.contains("MiB"), "{refused}");
    }
}
