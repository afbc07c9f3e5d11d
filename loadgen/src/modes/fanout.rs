//! Fan-out: one connection publishes, everybody (the publisher included) receives. The next message
//! is published when one has reached all, so what is under way is bounded; a server that leaves
//! somebody out brings the run to a halt, and that is the finding.

use std::sync::Arc;

use serde::Serialize;

use crate::cli::FanoutArguments;
use crate::crew::{Crew, LoadSize, Window};
use crate::failure::Failure;
use crate::latency::LatencySummary;
use crate::loads::{Audience, Channel};
use crate::output::{StatusLine, grouped};
use crate::pattern::Pattern;
use crate::report::{
    Checked, ClientUse, Errors, Outcome, ServerUse, Unit, check_lines, costs, latency_line,
    use_lines,
};
use crate::target::Target;

/// The JSON form.
#[derive(Debug, Serialize)]
struct FanoutReport {
    mode: &'static str,
    url: String,
    driver: String,
    connections: usize,
    payload_bytes: usize,
    pipeline: usize,
    seconds: f64,
    deliveries: u64,
    rate_per_second: f64,
    messages_per_second: f64,
    mib_per_second: f64,
    /// From the publishing to the arrival at each subscriber.
    latency_us: LatencySummary,
    server: Option<ServerUse>,
    client: ClientUse,
    reach: Reach,
    checked: Checked,
    errors: Errors,
}

/// Whether everybody got everything, over the whole run.
#[derive(Debug, Serialize)]
struct Reach {
    published: u64,
    deliveries_due: u64,
    deliveries: u64,
}

/// Runs the mode.
pub(crate) fn run(arguments: &FanoutArguments) -> Result<Outcome, Failure> {
    let (server, connections) = (&arguments.server, arguments.connections);
    let target = Arc::new(Target::parse(&server.url, server.trust_peer)?);
    let pattern = Pattern::new(arguments.message.kind(), arguments.payload);
    let verify = arguments.message.verify(server);
    let channel = Arc::new(Channel::new(pattern, verify, arguments.pipeline));
    let load = LoadSize::new(connections, arguments.payload, arguments.pipeline);
    let shared = (Arc::clone(&target), Arc::clone(&channel));
    let mut status = StatusLine::new("fanout");
    let crew = Crew::start(&arguments.engine, &target, server.server_pid, load, move |place| {
        Audience::new(&shared.0, &shared.1, connections, place)
    })?;
    let driver = crew.driver();
    crew.wait_for_open(connections, &mut status)?;
    for _ in 0..arguments.pipeline {
        channel.publish(crew.board().nanoseconds());
    }
    crew.pass(arguments.warmup, &mut status)?;
    let window = crew.count_for(arguments.duration, &mut status)?;
    let due = || channel.published() * connections as u64;
    crew.drain(|totals| totals.received >= due());
    drop(status);
    let board = crew.end()?;
    let totals = board.totals();
    let errors = Errors::new(&board, &totals, due());
    let checked = Checked { sent: channel.published(), ..Checked::of(&totals) };
    let latency = board.latencies().summary();
    Ok(report(arguments, &target, driver, &window, latency, checked, errors))
}

fn report(
    arguments: &FanoutArguments,
    target: &Target,
    driver: String,
    window: &Window,
    latency_us: LatencySummary,
    checked: Checked,
    errors: Errors,
) -> Outcome {
    let (server, client) = costs(window, Unit::Delivery, window.received);
    let rate = window.received as f64 / window.seconds.max(1e-9);
    let report = FanoutReport {
        mode: "fanout",
        url: target.url(),
        driver,
        connections: arguments.connections,
        payload_bytes: arguments.payload,
        pipeline: arguments.pipeline,
        seconds: window.seconds,
        deliveries: window.received,
        rate_per_second: rate,
        messages_per_second: rate / arguments.connections as f64,
        mib_per_second: rate * arguments.payload as f64 / (1 << 20) as f64,
        latency_us,
        server,
        client,
        reach: Reach {
            published: checked.sent,
            deliveries_due: checked.sent * arguments.connections as u64,
            deliveries: checked.received,
        },
        checked,
        errors,
    };
    let text = text(&report);
    let sound = report.errors.is_empty();
    Outcome::new(&report, text, sound)
}

fn text(report: &FanoutReport) -> String {
    let mut text = format!(
        "{}: fan-out, {} subscribers, {} bytes, {} under way, driver {}\n",
        report.url,
        grouped(report.connections as f64),
        report.payload_bytes,
        report.pipeline,
        report.driver
    );
    text += &format!(
        "rate      {} deliveries/s, {} messages/s, {:.2} MiB/s, over {:.2} s\n",
        grouped(report.rate_per_second),
        grouped(report.messages_per_second),
        report.mib_per_second,
        report.seconds
    );
    text += &latency_line(&report.latency_us);
    text += &use_lines(report.server.as_ref(), &report.client);
    text += &format!(
        "reach     {} of {} deliveries\n",
        grouped(report.reach.deliveries as f64),
        grouped(report.reach.deliveries_due as f64)
    );
    text + &check_lines(&report.checked, &report.errors)
}
