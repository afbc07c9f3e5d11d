//! The shards that make the load, and the main thread's view of them: starts them, waits, measures
//! a window, ends them. What they do on their connections is the modes' business.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ringsock::protocol::HEADER_BYTES_MAX;
use ringsock::{Cores, Handler, Limits, MIB, Running, Server};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::cli::EngineArguments;
use crate::content::Content;
use crate::failure::{Failure, Phase};
use crate::interrupt;
use crate::loads::Place;
use crate::procfs::ProcessSample;
use crate::scoreboard::{Scoreboard, Stage, Totals};
use crate::target::Target;
use crate::usage::{Sample, Window};
use crate::watch::Watch;

/// Pause between two looks at the counts.
const POLL_INTERVAL: Duration = Duration::from_millis(5);
/// Time without any progress after which waiting is given up. Longer than a handshake may take.
const PATIENCE: Duration = Duration::from_secs(12);
/// Time given to what is under way when sending stops.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// Time without any answer after which what is under way counts as lost.
const QUIET_MAX: Duration = Duration::from_millis(2500);
/// Time over which connections are closed at the end.
const DRAIN_WINDOW: Duration = Duration::from_millis(1);
/// Time for a closing handshake.
const CLOSE_MAX: Duration = Duration::from_secs(2);
/// Time after which shards are ended whatever their connections do.
const END_MAX: Duration = Duration::from_secs(6);
/// Times that a connection may stay silent when it is asked for a sign of life.
const SILENCES_MAX: u32 = 100;
/// Memory of each shard for the compression contexts of its connections.
const CONTEXTS_BYTES_MAX: usize = 4096 * MIB;
/// Longest message that is received.
const MESSAGE_BYTES_MAX: usize = 64 * MIB;

/// Running shards with their scoreboard.
pub(crate) struct Crew {
    running: Running,
    board: Arc<Scoreboard>,
    target: Target,
    server_pid: Option<u32>,
}

/// How much there is at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoadSize {
    pub(crate) connections: usize,
    /// Bytes that one connection may have to send.
    pub(crate) queue_bytes: usize,
    /// Messages that the main thread may send.
    pub(crate) mailbox_messages: usize,
    /// Silence after which a connection is asked for a sign of life, which lets it look at what it
    /// still waits for.
    pub(crate) silence_max: Option<Duration>,
}

impl LoadSize {
    /// So many connections with so many messages under way on each.
    pub(crate) fn new(connections: usize, content: &Content, pipeline: usize) -> Self {
        let frame_bytes = content.pattern.payload_bytes() + HEADER_BYTES_MAX;
        Self {
            connections,
            queue_bytes: frame_bytes.saturating_mul(pipeline),
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
        server_pid: Option<u32>,
        load: LoadSize,
        factory: F,
    ) -> Result<Self, Failure>
    where
        H: Handler,
        F: Fn(Place) -> H + Send + Sync + 'static,
    {
        if let Some(process) = server_pid {
            sample_server(process)?;
        }
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
        Ok(Self { running, board, target: target.clone(), server_pid })
    }

    /// The driver that the load runs on.
    pub(crate) fn driver(&self) -> String {
        self.running.driver().to_string()
    }

    /// The counts and the stage.
    pub(crate) fn board(&self) -> &Scoreboard {
        &self.board
    }

    /// Waits until the counts are as wanted. Fails when a shard reports a failure or when nothing
    /// moves any more.
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
                    "nothing has come back for {} s: {} connections opened, {} messages received",
                    PATIENCE.as_secs(),
                    totals.opened,
                    totals.received
                );
                return Err(Failure::of_server(&self.target, phase, &cause));
            }
            watch.look(&self.board, &totals);
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Waits until this many connections are open.
    pub(crate) fn wait_for_open(
        &self,
        connections: usize,
        watch: &mut Watch,
    ) -> Result<(), Failure> {
        self.wait_until(Phase::Handshake, watch, |totals| totals.opened >= connections as u64)
    }

    /// Lets time pass with messages flowing.
    pub(crate) fn pass(
        &self,
        step: &'static str,
        span: Duration,
        watch: &mut Watch,
    ) -> Result<(), Failure> {
        watch.begin(step, Some(span));
        let end = Instant::now() + span;
        self.wait_until(Phase::Echo, watch, |_| Instant::now() >= end)
    }

    /// Begins to count.
    pub(crate) fn start_counting(&self) -> Result<Sample, Failure> {
        if interrupt::is_interrupted() {
            return Err(Failure::interrupted());
        }
        self.board.enter(Stage::Counting);
        self.sample()
    }

    /// What happened since counting began, and what it cost.
    pub(crate) fn counted_since(&self, before: &Sample) -> Result<Window, Failure> {
        Ok(Window::between(before, &self.sample()?))
    }

    /// Counts for this long.
    pub(crate) fn count_for(&self, span: Duration, watch: &mut Watch) -> Result<Window, Failure> {
        let before = self.start_counting()?;
        self.pass("measuring", span, watch)?;
        self.counted_since(&before)
    }

    /// Stops sending, and waits for what is under way: until the condition holds, a connection is
    /// lost, nothing comes any more or the time for it is over.
    pub(crate) fn drain(&self, mut settled: impl FnMut(&Totals) -> bool) {
        self.board.enter(Stage::Draining);
        let end = Instant::now() + DRAIN_MAX;
        let (mut last, mut moved) = (self.board.totals(), Instant::now());
        while Instant::now() < end && moved.elapsed() < QUIET_MAX {
            let totals = self.board.totals();
            if settled(&totals) || totals.lost > 0 || self.board.failure().is_some() {
                break;
            }
            if totals != last {
                (last, moved) = (totals, Instant::now());
            }
            thread::sleep(POLL_INTERVAL);
        }
    }

    /// Ends all connections with a closing handshake, then the shards; the final counts.
    pub(crate) fn end(self) -> Result<Arc<Scoreboard>, Failure> {
        self.board.enter(Stage::Closing);
        let controller = self.running.controller();
        controller.drain();
        thread::spawn(move || {
            thread::sleep(END_MAX);
            controller.stop();
        });
        self.running.join().map_err(|error| Failure::usage(error.to_string()))?;
        Ok(self.board)
    }

    fn sample(&self) -> Result<Sample, Failure> {
        Ok(Sample {
            server: self.server_pid.map(sample_server).transpose()?,
            client: ProcessSample::of_self(),
            totals: self.board.totals(),
            taken: Instant::now(),
        })
    }
}

/// Samples the process that the user says is the server.
pub(crate) fn sample_server(process: u32) -> Result<ProcessSample, Failure> {
    ProcessSample::of(process)
        .map_err(|error| Failure::usage(format!("--server-pid {process}: {error}")))
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
        deflate_contexts_bytes_max: CONTEXTS_BYTES_MAX,
        connections_max: load.connections.clamp(1, 1 << 24),
        mailbox_commands_max: load.mailbox_messages.clamp(1024, 1 << 24),
        ..Limits::default()
    }
}
