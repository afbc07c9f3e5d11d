//! Churn: connect, upgrade, echo, close, over and over. What is told is the whole cycle; the parts
//! of it are not timed.

use std::sync::Arc;

use serde::Serialize;

use crate::cli::ChurnArguments;
use crate::crew::{Crew, LoadSize, Loop};
use crate::exhibit::{Card, Exhibit, Series};
use crate::expect::Figures;
use crate::failure::{Failure, Phase};
use crate::interrupt;
use crate::latency::LatencySummary;
use crate::loads::{CyclePlan, Cycles};
use crate::output::{duration_text, grouped};
use crate::report::{
    Checked, ClientUse, Errors, Outcome, ServerUse, Unit, check_lines, costs, latency_line,
    use_lines,
};
use crate::think::Think;
use crate::timeline::Point;
use crate::truth;
use crate::watch::Watch;

/// The JSON form.
#[derive(Debug, Serialize)]
struct ChurnReport {
    mode: &'static str,
    url: String,
    driver: String,
    connections: usize,
    messages_per_connection: u64,
    /// The mean of the pauses between them.
    #[serde(skip_serializing_if = "Option::is_none")]
    think_milliseconds: Option<Think>,
    payload_bytes: usize,
    interrupted: bool,
    seconds: f64,
    cycles: u64,
    rate_per_second: f64,
    /// From the request to connect to the end of the closing handshake, without the pauses.
    latency_us: LatencySummary,
    server: Option<ServerUse>,
    client: ClientUse,
    checked: Checked,
    errors: Errors,
    warnings: Vec<String>,
    timeline: Vec<Point>,
}

/// Runs the mode.
pub(crate) fn run(arguments: &ChurnArguments) -> Result<Outcome, Failure> {
    let server = &arguments.server;
    let plan = Arc::new(CyclePlan {
        target: Arc::new(server.target()?),
        connections: arguments.connections,
        messages: arguments.messages,
        think: arguments.think,
        content: arguments.message.content(arguments.payload, server)?,
    });
    let shared = Arc::clone(&plan);
    let load = LoadSize::new(arguments.connections, &plan.content, 1);
    let mut watch = Watch::new("churn", server.server_pid);
    let crew =
        Crew::start(&arguments.engine, &plan.target, server.watched(), load, move |place| {
            Cycles::new(&shared, place)
        })?;
    let driver = crew.driver();
    crew.wait_until(Phase::Handshake, &mut watch, |totals| {
        totals.opened > 0 || totals.unopened >= plan.connections as u64
    })?;
    crew.opened()?;
    let span = (arguments.warmup, arguments.duration);
    let window = crew.count(Loop::Closed, span, &mut watch, |_| {})?;
    crew.drain(|totals| totals.started <= totals.cycles + totals.lost + totals.unopened);
    let board = crew.end()?;
    let totals = board.totals();
    let recorded = watch.finish(&board);
    let warnings = truth::doubts(&window, None, &recorded).warnings;
    let (server, client) = costs(&window, Unit::Cycle, window.cycles);
    let report = ChurnReport {
        mode: "churn",
        url: plan.target.url(),
        driver,
        connections: plan.connections,
        messages_per_connection: plan.messages,
        think_milliseconds: plan.think,
        payload_bytes: plan.content.pattern.payload_bytes(),
        interrupted: interrupt::is_interrupted(),
        seconds: window.seconds,
        cycles: window.cycles,
        rate_per_second: window.cycles as f64 / window.seconds.max(1e-9),
        latency_us: recorded.readings.latency.summary(),
        server,
        client,
        checked: Checked::of(&board, &totals),
        errors: Errors::new(&board, &totals, totals.sent),
        warnings: warnings.clone(),
        timeline: recorded.timeline.clone(),
    };
    let figures = Figures::default()
        .with_latency(&report.latency_us)
        .with_errors(&report.errors)
        .with_server(report.server.as_ref())
        .with("rate", report.rate_per_second);
    let exhibit = Exhibit {
        title: "Churn".to_owned(),
        subtitle: subtitle(&report),
        cards: cards(&report),
        series: vec![Series::new("whole cycle", recorded)],
        ..Exhibit::default()
    };
    let sound = report.errors.is_empty();
    Ok(Outcome::new(&report, text(&report), sound)
        .with_figures(figures)
        .showing(exhibit)
        .warning(warnings))
}

fn subtitle(report: &ChurnReport) -> String {
    let pause = report.think_milliseconds.map(|think| format!(", {think} apart"));
    let pause = pause.unwrap_or_default();
    format!(
        "{}: {} connections at once, {} messages of {} bytes on each{pause}, driver {}",
        report.url,
        report.connections,
        report.messages_per_connection,
        report.payload_bytes,
        report.driver
    )
}

fn cards(report: &ChurnReport) -> Vec<Card> {
    let us = |us: f64| duration_text(us * 1000.0);
    let mut cards = vec![
        Card::new("Connections a second", grouped(report.rate_per_second), "opened, used, closed"),
        Card::new("Median cycle", us(report.latency_us.p50), ""),
        Card::new("p99 cycle", us(report.latency_us.p99), ""),
    ];
    if let Some(server) = &report.server {
        let note = format!("{:.2} cores busy", server.cores_busy);
        cards.push(Card::new("Server CPU a cycle", duration_text(server.cost.ns()), note));
    }
    cards
}

fn text(report: &ChurnReport) -> String {
    let mut text = format!("{}\n", subtitle(report).replacen(": ", ": churn, ", 1));
    text += &format!(
        "rate      {} connections/s, over {:.2} s\n",
        grouped(report.rate_per_second),
        report.seconds
    );
    text += &latency_line(&report.latency_us);
    text += &use_lines(report.server.as_ref(), &report.client);
    text + &check_lines(&report.checked, &report.errors)
}
