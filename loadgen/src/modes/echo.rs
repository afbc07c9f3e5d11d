//! Echo: every connection has a fixed number of messages under way, and sends one for each that
//! comes back. It does not find the highest rate a latency allows; it finds the rate of a loop.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use ringsock::protocol::MessageKind;
use serde::Serialize;

use crate::cli::{EchoArguments, EngineArguments};
use crate::crew::{Crew, LoadSize, Window, sample_server};
use crate::failure::{Failure, Phase};
use crate::latency::LatencySummary;
use crate::loads::{EchoPlan, StartingLine, Swarm};
use crate::output::{StatusLine, grouped};
use crate::pattern::Pattern;
use crate::report::{
    Checked, ClientUse, Errors, Outcome, ServerUse, Unit, check_lines, costs, latency_line,
    use_lines,
};
use crate::target::Target;

/// How long an echo run is and what is looked at besides the messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    /// What is counted: this long, or, if the plan has a number of messages, all of them.
    pub(crate) duration: Duration,
    pub(crate) warmup: Duration,
    pub(crate) hold: Duration,
    pub(crate) server_pid: Option<u32>,
}

/// What came of an echo run.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) driver: String,
    pub(crate) window: Window,
    pub(crate) latency: LatencySummary,
    pub(crate) checked: Checked,
    pub(crate) errors: Errors,
    /// Anonymous memory of the server after the hold.
    pub(crate) anon_bytes_after_hold: Option<u64>,
}

/// The JSON form.
#[derive(Debug, Serialize)]
struct EchoReport {
    mode: &'static str,
    url: String,
    driver: String,
    connections: usize,
    payload_bytes: usize,
    kind: &'static str,
    pipeline: usize,
    seconds: f64,
    messages: u64,
    rate_per_second: f64,
    /// Payload that came back; as much went out.
    mib_per_second: f64,
    latency_us: LatencySummary,
    server: Option<ServerUse>,
    client: ClientUse,
    #[serde(skip_serializing_if = "Option::is_none")]
    anon_bytes_after_hold: Option<u64>,
    checked: Checked,
    errors: Errors,
}

/// Runs the mode.
pub(crate) fn run(arguments: &EchoArguments) -> Result<Outcome, Failure> {
    let server = &arguments.server;
    let target = Arc::new(Target::parse(&server.url, server.trust_peer)?);
    let plan = Arc::new(EchoPlan {
        target: Arc::clone(&target),
        connections: arguments.connections,
        pattern: Pattern::new(arguments.message.kind(), arguments.payload),
        verify: arguments.message.verify(server),
        pipeline: arguments.pipeline,
        messages: arguments.messages,
        line: StartingLine::default(),
    });
    let schedule = Schedule {
        duration: arguments.duration,
        warmup: arguments.warmup,
        hold: arguments.hold,
        server_pid: server.server_pid,
    };
    let mut status = StatusLine::new("echo");
    let measured = measure(&plan, &arguments.engine, schedule, &mut status)?;
    drop(status);
    Ok(report(&plan, measured))
}

/// Opens the connections, lets the messages flow and counts.
pub(crate) fn measure(
    plan: &Arc<EchoPlan>,
    engine: &EngineArguments,
    schedule: Schedule,
    status: &mut StatusLine,
) -> Result<Measured, Failure> {
    let shared = Arc::clone(plan);
    let load = LoadSize::new(plan.connections, plan.pattern.payload_bytes(), plan.pipeline);
    let crew = Crew::start(engine, &plan.target, schedule.server_pid, load, move |place| {
        Swarm::new(&shared, place)
    })?;
    let driver = crew.driver();
    crew.wait_for_open(plan.connections, status)?;
    let window = count(plan, &crew, schedule, status)?;
    crew.drain(|totals| totals.received >= totals.sent);
    let mut anon_bytes_after_hold = None;
    if !schedule.hold.is_zero() {
        thread::sleep(schedule.hold);
        if let Some(process) = schedule.server_pid {
            anon_bytes_after_hold = Some(sample_server(process)?.anon_bytes);
        }
    }
    let board = crew.end()?;
    let totals = board.totals();
    let due = plan.messages.map_or(totals.sent, |messages| messages * plan.connections as u64);
    Ok(Measured {
        driver,
        window,
        latency: board.latencies().summary(),
        checked: Checked::of(&totals),
        errors: Errors::new(&board, &totals, due),
        anon_bytes_after_hold,
    })
}

fn count(
    plan: &EchoPlan,
    crew: &Crew,
    schedule: Schedule,
    status: &mut StatusLine,
) -> Result<Window, Failure> {
    let begin = || {
        let board = crew.board();
        board.add_sent(plan.line.begin(&plan.pattern, board.nanoseconds()));
    };
    let Some(messages) = plan.messages else {
        begin();
        crew.pass(schedule.warmup, status)?;
        return crew.count_for(schedule.duration, status);
    };
    let due = messages * plan.connections as u64;
    let before = crew.start_counting()?;
    begin();
    crew.wait_until(Phase::Echo, status, |totals| totals.received >= due || totals.lost > 0)?;
    crew.counted_since(&before)
}

/// `text` or `binary`.
pub(crate) fn kind_name(kind: MessageKind) -> &'static str {
    match kind {
        MessageKind::Text => "text",
        MessageKind::Binary => "binary",
    }
}

fn report(plan: &EchoPlan, measured: Measured) -> Outcome {
    let Measured { driver, window, latency, checked, errors, anon_bytes_after_hold } = measured;
    let (server, client) = costs(&window, Unit::Message, window.received);
    let rate = window.received as f64 / window.seconds.max(1e-9);
    let payload_bytes = plan.pattern.payload_bytes();
    let report = EchoReport {
        mode: "echo",
        url: plan.target.url(),
        driver,
        connections: plan.connections,
        payload_bytes,
        kind: kind_name(plan.pattern.kind()),
        pipeline: plan.pipeline,
        seconds: window.seconds,
        messages: window.received,
        rate_per_second: rate,
        mib_per_second: rate * payload_bytes as f64 / (1 << 20) as f64,
        latency_us: latency,
        server,
        client,
        anon_bytes_after_hold,
        checked,
        errors,
    };
    let mut text = format!(
        "{}: echo, {} connections, {} bytes {}, {} under way on each, driver {}\n",
        report.url, report.connections, payload_bytes, report.kind, report.pipeline, report.driver
    );
    text += &format!(
        "rate      {} messages/s, {:.2} MiB/s each way, over {:.2} s\n",
        grouped(rate),
        report.mib_per_second,
        report.seconds
    );
    text += &latency_line(&report.latency_us);
    text += &use_lines(report.server.as_ref(), &report.client);
    text += &check_lines(&report.checked, &report.errors);
    let sound = report.errors.is_empty();
    Outcome::new(&report, text, sound)
}
