//! Echo: what comes back and how fast. A closed loop finds the rate that a number of messages under
//! way gives; an open loop finds the latency at a rate that is demanded.

use std::sync::Arc;

use ringsock::protocol::MessageKind;
use serde::Serialize;

use super::echo_run::{EchoWork, Measured, Span};
use crate::cli::EchoArguments;
use crate::exhibit::{Card, Exhibit, Series};
use crate::expect::Figures;
use crate::failure::Failure;
use crate::interrupt;
use crate::latency::LatencySummary;
use crate::loads::Pace;
use crate::output::{duration_text, grouped};
use crate::report::{
    Checked, ClientUse, Errors, Outcome, ServerUse, Unit, check_lines, costs, latency_line,
    latency_line_named, use_lines,
};
use crate::schedule::Arrivals;
use crate::think::Think;
use crate::timeline::Point;
use crate::watch::Watch;
use crate::wire::{WireUse, wire_line};

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
    /// What was demanded, in an open loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    demanded: Option<Demanded>,
    interrupted: bool,
    seconds: f64,
    messages: u64,
    rate_per_second: f64,
    /// Payload that came back; as much went out.
    mib_per_second: f64,
    /// In an open loop from when messages were due.
    latency_us: LatencySummary,
    /// From when they were really sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    uncorrected_latency_us: Option<LatencySummary>,
    /// How late they were sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule_lag_us: Option<LatencySummary>,
    server: Option<ServerUse>,
    client: ClientUse,
    wire: Option<WireUse>,
    #[serde(skip_serializing_if = "Option::is_none")]
    anon_bytes_after_hold: Option<u64>,
    checked: Checked,
    errors: Errors,
    warnings: Vec<String>,
    timeline: Vec<Point>,
}

/// The pace of an open loop.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Demanded {
    ConstantRate(f64),
    PoissonRate(f64),
    /// The mean of the pauses.
    ThinkMilliseconds(Think),
}

impl Demanded {
    fn of(pace: Pace) -> Self {
        match pace {
            Pace::Rate(rate, Arrivals::Constant) => Self::ConstantRate(rate),
            Pace::Rate(rate, Arrivals::Poisson) => Self::PoissonRate(rate),
            Pace::Think(think) => Self::ThinkMilliseconds(think),
        }
    }

    fn text(self) -> String {
        match self {
            Self::ConstantRate(rate) => format!("{} messages/s demanded", grouped(rate)),
            Self::PoissonRate(rate) => {
                format!("{} messages/s demanded, at random times", grouped(rate))
            }
            Self::ThinkMilliseconds(think) => format!("{think} from answer to message"),
        }
    }
}

/// Runs the mode.
pub(crate) fn run(arguments: &EchoArguments) -> Result<Outcome, Failure> {
    let server = &arguments.server;
    let content = arguments.message.content(arguments.payload, server)?;
    let kind = content.pattern.kind();
    let pace = arguments.rate.pace();
    let work = EchoWork {
        target: Arc::new(server.target()?),
        connections: arguments.connections,
        ramp: arguments.opening.ramp,
        content,
        pipeline: arguments.pipeline,
        pace,
        messages: arguments.messages,
    };
    let span = Span {
        duration: arguments.duration,
        warmup: arguments.warmup,
        hold: arguments.hold,
        server: server.watched(),
    };
    let url = work.target.url();
    let watch = Watch::new("echo", server.server_pid);
    let measured = work.run(&arguments.engine, span, watch)?;
    Ok(report(url, kind, pace, measured))
}

/// `text` or `binary`.
pub(crate) fn kind_name(kind: MessageKind) -> &'static str {
    match kind {
        MessageKind::Text => "text",
        MessageKind::Binary => "binary",
    }
}

fn report(url: String, kind: MessageKind, pace: Option<Pace>, measured: Measured) -> Outcome {
    let Measured { window, recorded, errors, doubts, .. } = measured;
    let (server, client) = costs(&window, Unit::Message, window.received);
    let readings = &recorded.readings;
    let report = EchoReport {
        mode: "echo",
        url,
        driver: measured.driver,
        connections: measured.connections,
        payload_bytes: measured.payload_bytes,
        kind: kind_name(kind),
        pipeline: measured.pipeline,
        demanded: pace.map(Demanded::of),
        interrupted: interrupt::is_interrupted(),
        seconds: window.seconds,
        messages: window.received,
        rate_per_second: window.rate(),
        mib_per_second: window.rate() * measured.payload_bytes as f64 / (1 << 20) as f64,
        latency_us: readings.latency.summary(),
        uncorrected_latency_us: readings.uncorrected.as_ref().map(|all| all.summary()),
        schedule_lag_us: readings.lag.as_ref().map(|all| all.summary()),
        server,
        client,
        wire: window.wire,
        anon_bytes_after_hold: measured.anon_bytes_after_hold,
        checked: measured.checked,
        errors,
        warnings: doubts.warnings.clone(),
        timeline: recorded.timeline.clone(),
    };
    let mut figures = Figures::default()
        .with_latency(&report.latency_us)
        .with_errors(&report.errors)
        .with_server(report.server.as_ref())
        .with("rate", report.rate_per_second);
    if let Some(lag) = &report.schedule_lag_us {
        figures = figures.with("lag", lag.p99 * 1000.0);
    }
    let exhibit = Exhibit {
        title: "Echo".to_owned(),
        subtitle: subtitle(&report),
        cards: cards(&report),
        series: vec![Series::new("echo", recorded)],
        ..Exhibit::default()
    };
    let sound = report.errors.is_empty();
    Outcome::new(&report, text(&report), sound)
        .with_figures(figures)
        .showing(exhibit)
        .warning(doubts.warnings)
}

fn subtitle(report: &EchoReport) -> String {
    let pace = report.demanded.map_or_else(
        || format!("{} under way on each", report.pipeline),
        |demanded| demanded.text(),
    );
    format!(
        "{}: {} connections, {} bytes {}, {pace}, driver {}",
        report.url,
        grouped(report.connections as f64),
        grouped(report.payload_bytes as f64),
        report.kind,
        report.driver
    )
}

fn cards(report: &EchoReport) -> Vec<Card> {
    let us = |us: f64| duration_text(us * 1000.0);
    let mut cards = vec![
        Card::new(
            "Messages a second",
            grouped(report.rate_per_second),
            format!("{:.2} MiB/s each way", report.mib_per_second),
        ),
        Card::new("Median latency", us(report.latency_us.p50), ""),
        Card::new(
            "p99 latency",
            us(report.latency_us.p99),
            format!("longest {}", us(report.latency_us.max)),
        ),
    ];
    if let Some(server) = &report.server {
        cards.push(Card::new(
            "Server CPU a message",
            duration_text(server.cost.ns()),
            format!("{:.2} cores busy", server.cores_busy),
        ));
    }
    if let Some(lag) = &report.schedule_lag_us {
        cards.push(Card::new("Schedule lag p99", us(lag.p99), "how late messages were sent"));
    }
    cards
}

fn text(report: &EchoReport) -> String {
    let mut text = format!("{}\n", subtitle(report).replacen(": ", ": echo, ", 1));
    text += &format!(
        "rate      {} messages/s, {:.2} MiB/s each way, over {:.2} s\n",
        grouped(report.rate_per_second),
        report.mib_per_second,
        report.seconds
    );
    text += &latency_line(&report.latency_us);
    if let Some(uncorrected) = &report.uncorrected_latency_us {
        text += &latency_line_named("from send", uncorrected);
    }
    if let Some(lag) = &report.schedule_lag_us {
        text += &latency_line_named("lag", lag);
    }
    text += &use_lines(report.server.as_ref(), &report.client);
    text += &wire_line(report.wire.as_ref(), report.checked.compressed_connections > 0);
    text + &check_lines(&report.checked, &report.errors)
}
