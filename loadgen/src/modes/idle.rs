//! Idle: opens connections that echo one message each and then stay, and tells what they cost the
//! server in memory. No load is made while they stay.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cli::IdleArguments;
use crate::crew::{Crew, LoadSize, sample_server};
use crate::failure::{Failure, Phase};
use crate::latency::LatencySummary;
use crate::loads::{IdlePlan, Settlers};
use crate::output::{StatusLine, grouped, mib};
use crate::pattern::Pattern;
use crate::procfs::ProcessSample;
use crate::report::{Checked, Errors, Outcome, check_lines, latency_line};
use crate::target::Target;

/// Time for the server to give back what only opening needed.
const SETTLE_TIME: Duration = Duration::from_millis(500);
/// Time between two steps of a ramp.
const RAMP_STEP: Duration = Duration::from_millis(20);

/// The JSON form.
#[derive(Debug, Serialize)]
struct IdleReport {
    mode: &'static str,
    url: String,
    driver: String,
    connections: usize,
    payload_bytes: usize,
    /// Until the last connection had its echo.
    opening_seconds: f64,
    rate_per_second: f64,
    /// From the request to connect to the echo, for each connection.
    latency_us: LatencySummary,
    hold_seconds: f64,
    server: Option<ServerMemory>,
    checked: Checked,
    errors: Errors,
}

/// The server's memory: before, with all connections open, and after the hold.
#[derive(Debug, Serialize)]
struct ServerMemory {
    anon_bytes_before: u64,
    anon_bytes: u64,
    anon_bytes_after_hold: u64,
    anon_bytes_per_connection: f64,
    rss_bytes_per_connection: f64,
}

/// Runs the mode.
pub(crate) fn run(arguments: &IdleArguments) -> Result<Outcome, Failure> {
    let server = &arguments.server;
    let connections = arguments.connections;
    let allowed = arguments.ramp.map_or(connections, |rate| step_of(rate, RAMP_STEP));
    let plan = Arc::new(IdlePlan {
        target: Arc::new(Target::parse(&server.url, server.trust_peer)?),
        connections,
        pattern: Pattern::new(arguments.message.kind(), arguments.payload),
        verify: arguments.message.verify(server),
        allowed: AtomicUsize::new(allowed),
        pacers: Mutex::default(),
    });
    let before = server.server_pid.map(sample_server).transpose()?;
    let shared = Arc::clone(&plan);
    let load = LoadSize::new(connections, arguments.payload, 1);
    let mut status = StatusLine::new("idle");
    let began = Instant::now();
    let crew =
        Crew::start(&arguments.engine, &plan.target, server.server_pid, load, move |place| {
            Settlers::new(&shared, place)
        })?;
    let driver = crew.driver();
    open_all(&crew, &plan, arguments.ramp, &mut status)?;
    let opening_seconds = began.elapsed().as_secs_f64();
    thread::sleep(SETTLE_TIME);
    let opened = server.server_pid.map(sample_server).transpose()?;
    hold(&crew, arguments.hold, &mut status)?;
    let held = server.server_pid.map(sample_server).transpose()?;
    drop(status);
    let board = crew.end()?;
    let totals = board.totals();
    let samples = before.zip(opened).zip(held);
    let report = IdleReport {
        mode: "idle",
        url: plan.target.url(),
        driver,
        connections,
        payload_bytes: arguments.payload,
        opening_seconds,
        rate_per_second: connections as f64 / opening_seconds.max(1e-9),
        latency_us: board.latencies().summary(),
        hold_seconds: arguments.hold.as_secs_f64(),
        server: samples.map(|((before, opened), held)| {
            ServerMemory::new(&before, &opened, &held, connections)
        }),
        checked: Checked::of(&totals),
        errors: Errors::new(&board, &totals, connections as u64),
    };
    let text = text(&report);
    let sound = report.errors.is_empty();
    Ok(Outcome::new(&report, text, sound))
}

/// Connections that a ramp of `rate` a second allows in `span`, at least one.
fn step_of(rate: usize, span: Duration) -> usize {
    ((rate as f64 * span.as_secs_f64()) as usize).max(1)
}

fn open_all(
    crew: &Crew,
    plan: &IdlePlan,
    ramp: Option<usize>,
    status: &mut StatusLine,
) -> Result<(), Failure> {
    let began = Instant::now();
    let mut stepped = began;
    crew.wait_until(Phase::Handshake, status, |totals| {
        if let Some(rate) = ramp
            && stepped.elapsed() >= RAMP_STEP
        {
            stepped = Instant::now();
            plan.allow(step_of(rate, began.elapsed() + RAMP_STEP));
        }
        totals.received >= plan.connections as u64 || totals.lost > 0
    })
}

/// Leaves the connections alone. Nothing moves meanwhile, which is as it should be.
fn hold(crew: &Crew, span: Duration, status: &mut StatusLine) -> Result<(), Failure> {
    const GLANCE: Duration = Duration::from_millis(100);
    let end = Instant::now() + span;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        thread::sleep(left.min(GLANCE));
        status.show(&crew.board().totals());
        if let Some(failure) = crew.board().failure() {
            return Err(failure);
        }
    }
    Ok(())
}

impl ServerMemory {
    fn new(
        before: &ProcessSample,
        opened: &ProcessSample,
        held: &ProcessSample,
        connections: usize,
    ) -> Self {
        let each = |before: u64, after: u64| (after as f64 - before as f64) / connections as f64;
        Self {
            anon_bytes_before: before.anon_bytes,
            anon_bytes: opened.anon_bytes,
            anon_bytes_after_hold: held.anon_bytes,
            anon_bytes_per_connection: each(before.anon_bytes, opened.anon_bytes),
            rss_bytes_per_connection: each(before.rss_bytes, opened.rss_bytes),
        }
    }
}

fn text(report: &IdleReport) -> String {
    let mut text = format!(
        "{}: idle, {} connections, driver {}\nopening   {:.2} s, {} connections/s\n",
        report.url,
        grouped(report.connections as f64),
        report.driver,
        report.opening_seconds,
        grouped(report.rate_per_second)
    );
    text += &latency_line(&report.latency_us);
    if let Some(memory) = &report.server {
        text += &format!(
            "server    {} bytes of anonymous memory a connection: {} MiB before, {} MiB with all \
             open, {} MiB after {:.0} s\n",
            grouped(memory.anon_bytes_per_connection),
            mib(memory.anon_bytes_before),
            mib(memory.anon_bytes),
            mib(memory.anon_bytes_after_hold),
            report.hold_seconds
        );
    }
    text + &check_lines(&report.checked, &report.errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_always_allows_something() {
        assert_eq!(step_of(1, RAMP_STEP), 1);
        assert_eq!(step_of(10_000, RAMP_STEP), 200);
        assert_eq!(step_of(100, Duration::from_secs(3)), 300);
    }

    #[test]
    fn memory_is_told_for_each_connection_even_when_it_shrank() {
        let sample = |anon_bytes, rss_bytes| ProcessSample {
            anon_bytes,
            rss_bytes,
            ..ProcessSample::default()
        };
        let (before, after) = (sample(1_000, 5_000), sample(26_600, 4_000));
        let memory = ServerMemory::new(&before, &after, &after, 100);
        assert!((memory.anon_bytes_per_connection - 256.0).abs() < 1e-9);
        assert!((memory.rss_bytes_per_connection + 10.0).abs() < 1e-9);
    }
}
