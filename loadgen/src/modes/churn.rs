//! Churn: connect, upgrade, echo, close, over and over. What is told is the whole cycle; the parts
//! of it are not timed.

use std::sync::Arc;

use serde::Serialize;

use crate::cli::ChurnArguments;
use crate::crew::{Crew, LoadSize};
use crate::failure::Failure;
use crate::latency::LatencySummary;
use crate::loads::{CyclePlan, Cycles};
use crate::output::{StatusLine, grouped};
use crate::pattern::Pattern;
use crate::report::{
    Checked, ClientUse, Errors, Outcome, ServerUse, Unit, check_lines, costs, latency_line,
    use_lines,
};
use crate::target::Target;

/// The JSON form.
#[derive(Debug, Serialize)]
struct ChurnReport {
    mode: &'static str,
    url: String,
    driver: String,
    connections: usize,
    messages_per_connection: u64,
    payload_bytes: usize,
    seconds: f64,
    cycles: u64,
    rate_per_second: f64,
    /// From the request to connect to the end of the closing handshake.
    latency_us: LatencySummary,
    server: Option<ServerUse>,
    client: ClientUse,
    checked: Checked,
    errors: Errors,
}

/// Runs the mode.
pub(crate) fn run(arguments: &ChurnArguments) -> Result<Outcome, Failure> {
    let server = &arguments.server;
    let plan = Arc::new(CyclePlan {
        target: Arc::new(Target::parse(&server.url, server.trust_peer)?),
        connections: arguments.connections,
        messages: arguments.messages,
        pattern: Pattern::new(arguments.message.kind(), arguments.payload),
        verify: arguments.message.verify(server),
    });
    let shared = Arc::clone(&plan);
    let load = LoadSize::new(arguments.connections, arguments.payload, 1);
    let mut status = StatusLine::new("churn");
    let crew =
        Crew::start(&arguments.engine, &plan.target, server.server_pid, load, move |place| {
            Cycles::new(&shared, place)
        })?;
    let driver = crew.driver();
    crew.wait_for_open(1, &mut status)?;
    crew.pass(arguments.warmup, &mut status)?;
    let window = crew.count_for(arguments.duration, &mut status)?;
    crew.drain(|totals| totals.started == totals.cycles);
    drop(status);
    let board = crew.end()?;
    let totals = board.totals();
    let (server, client) = costs(&window, Unit::Cycle, window.cycles);
    let report = ChurnReport {
        mode: "churn",
        url: plan.target.url(),
        driver,
        connections: plan.connections,
        messages_per_connection: plan.messages,
        payload_bytes: plan.pattern.payload_bytes(),
        seconds: window.seconds,
        cycles: window.cycles,
        rate_per_second: window.cycles as f64 / window.seconds.max(1e-9),
        latency_us: board.latencies().summary(),
        server,
        client,
        checked: Checked::of(&totals),
        errors: Errors::new(&board, &totals, totals.sent),
    };
    let text = text(&report);
    let sound = report.errors.is_empty();
    Ok(Outcome::new(&report, text, sound))
}

fn text(report: &ChurnReport) -> String {
    let mut text = format!(
        "{}: churn, {} connections at once, {} messages of {} bytes on each, driver {}\n",
        report.url,
        report.connections,
        report.messages_per_connection,
        report.payload_bytes,
        report.driver
    );
    text += &format!(
        "rate      {} connections/s, over {:.2} s\n",
        grouped(report.rate_per_second),
        report.seconds
    );
    text += &latency_line(&report.latency_us);
    text += &use_lines(report.server.as_ref(), &report.client);
    text + &check_lines(&report.checked, &report.errors)
}
