//! Fan-out: some connections publish, everybody receives. In a closed loop the next message is
//! published when one has reached all, so a server that leaves somebody out brings the run to a
//! halt, and that is the finding; in an open loop what is lost is counted.

use std::sync::Arc;

use serde::Serialize;

use super::fanout_run::{self, FanoutMeasured, FanoutSetup};
use crate::attendance::{AttendanceSummary, AttendeeSummary};
use crate::cli::FanoutArguments;
use crate::exhibit::{Card, Exhibit, Series};
use crate::expect::Figures;
use crate::failure::Failure;
use crate::interrupt;
use crate::latency::LatencySummary;
use crate::output::{duration_text, grouped};
use crate::report::{
    Checked, ClientUse, Errors, Outcome, ServerUse, Unit, check_lines, costs, latency_line,
    latency_line_named, use_lines,
};
use crate::table::{Cell, Table};
use crate::think::Think;
use crate::timeline::Point;
use crate::watch::Watch;
use crate::wire::{WireUse, wire_line};

/// The JSON form.
#[derive(Debug, Serialize)]
struct FanoutReport {
    mode: &'static str,
    url: String,
    driver: String,
    connections: usize,
    publishers: usize,
    payload_bytes: usize,
    pipeline: usize,
    /// Messages a second that were demanded, in an open loop.
    #[serde(skip_serializing_if = "Option::is_none")]
    demanded_rate: Option<f64>,
    /// The mean of a publisher's pauses.
    #[serde(skip_serializing_if = "Option::is_none")]
    think_milliseconds: Option<Think>,
    interrupted: bool,
    seconds: f64,
    deliveries: u64,
    rate_per_second: f64,
    messages_per_second: f64,
    mib_per_second: f64,
    /// One way: from the publishing (in an open loop from when it was due) to the arrival at each
    /// subscriber.
    latency_us: LatencySummary,
    #[serde(skip_serializing_if = "Option::is_none")]
    uncorrected_latency_us: Option<LatencySummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule_lag_us: Option<LatencySummary>,
    /// From when a message was due (in a closed loop published) until the last subscriber had it.
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_us: Option<LatencySummary>,
    server: Option<ServerUse>,
    client: ClientUse,
    /// Messages sent are those published, messages received the deliveries.
    wire: Option<WireUse>,
    reach: Reach,
    /// What each of them got, over the whole run.
    subscribers: AttendanceSummary,
    checked: Checked,
    errors: Errors,
    warnings: Vec<String>,
    timeline: Vec<Point>,
}

/// Whether everybody got everything, over the whole run.
#[derive(Debug, Serialize)]
struct Reach {
    published: u64,
    deliveries_due: u64,
    deliveries: u64,
    /// Deliveries of those due.
    share: f64,
}

/// Runs the mode.
pub(crate) fn run(arguments: &FanoutArguments) -> Result<Outcome, Failure> {
    let setup = FanoutSetup {
        target: Arc::new(arguments.server.target()?),
        connections: arguments.connections,
        ramp: arguments.opening.ramp,
        publishers: arguments.fanout.publishers,
        content: arguments.message.content(arguments.payload, &arguments.server)?,
        pipeline: arguments.pipeline,
        pace: arguments.rate.pace(),
        reaches_self: !arguments.fanout.not_to_self,
        join: arguments.fanout.join.clone(),
    };
    let plan = setup.plan()?;
    let url = plan.target.url();
    let server = arguments.server.watched();
    let span = (arguments.warmup, arguments.duration);
    let watch = Watch::new("fanout", server.process);
    let measured = fanout_run::run(plan, &arguments.engine, span, server, watch)?;
    Ok(report(arguments, url, measured))
}

fn report(arguments: &FanoutArguments, url: String, measured: FanoutMeasured) -> Outcome {
    let FanoutMeasured { window, recorded, doubts, published, due, audience, .. } = measured;
    let (server, client) = costs(&window, Unit::Delivery, window.received);
    let (rate, readings) = (window.rate(), &recorded.readings);
    let report = FanoutReport {
        mode: "fanout",
        url,
        driver: measured.driver,
        connections: arguments.connections,
        publishers: arguments.fanout.publishers,
        payload_bytes: arguments.payload,
        pipeline: arguments.pipeline,
        demanded_rate: arguments.rate.rate,
        think_milliseconds: arguments.rate.think,
        interrupted: interrupt::is_interrupted(),
        seconds: window.seconds,
        deliveries: window.received,
        rate_per_second: rate,
        messages_per_second: rate / audience.max(1) as f64,
        mib_per_second: rate * arguments.payload as f64 / (1 << 20) as f64,
        latency_us: readings.latency.summary(),
        uncorrected_latency_us: readings.uncorrected.as_ref().map(|all| all.summary()),
        schedule_lag_us: readings.lag.as_ref().map(|all| all.summary()),
        completion_us: readings.completion.as_ref().map(|all| all.summary()),
        server,
        client,
        wire: window.wire,
        reach: Reach {
            published,
            deliveries_due: due,
            deliveries: measured.checked.received,
            share: measured.checked.received as f64 / due.max(1) as f64,
        },
        subscribers: readings.attendance.clone().unwrap_or_default().summary(),
        checked: measured.checked,
        errors: measured.errors,
        warnings: doubts.warnings.clone(),
        timeline: recorded.timeline.clone(),
    };
    let mut figures = Figures::default()
        .with_latency(&report.latency_us)
        .with_errors(&report.errors)
        .with_server(report.server.as_ref())
        .with("rate", report.rate_per_second)
        .with("reach", report.reach.share);
    for (name, summary) in [("completion", &report.completion_us), ("lag", &report.schedule_lag_us)]
    {
        if let Some(summary) = summary {
            figures = figures.with(name, summary.p99 * 1000.0);
        }
    }
    let exhibit = Exhibit {
        title: "Fan-out".to_owned(),
        subtitle: subtitle(&report),
        cards: cards(&report),
        series: vec![Series::new("one way", recorded)],
        tables: subscribers_table(&report.subscribers).into_iter().collect(),
        ..Exhibit::default()
    };
    let sound = report.errors.is_empty();
    Outcome::new(&report, text(&report), sound)
        .with_figures(figures)
        .showing(exhibit)
        .warning(doubts.warnings)
}

fn subtitle(report: &FanoutReport) -> String {
    let pace = match (report.demanded_rate, report.think_milliseconds) {
        (Some(rate), _) => format!("{} messages/s demanded", grouped(rate)),
        (None, Some(think)) => format!("{think} from when all have it to the next"),
        (None, None) => format!("{} under way", report.pipeline),
    };
    let publishers = match report.publishers {
        1 => String::new(),
        publishers => format!("{publishers} publishers, "),
    };
    format!(
        "{}: {publishers}{} subscribers, {} bytes, {pace}, driver {}",
        report.url,
        grouped(report.connections as f64),
        report.payload_bytes,
        report.driver
    )
}

fn cards(report: &FanoutReport) -> Vec<Card> {
    let us = |us: f64| duration_text(us * 1000.0);
    let mut cards = vec![
        Card::new(
            "Deliveries a second",
            grouped(report.rate_per_second),
            format!("{} messages/s", grouped(report.messages_per_second)),
        ),
        Card::new("Median one way", us(report.latency_us.p50), ""),
        Card::new(
            "p99 one way",
            us(report.latency_us.p99),
            format!("longest {}", us(report.latency_us.max)),
        ),
        Card::new(
            "Reach",
            format!("{:.3} %", report.reach.share * 100.0),
            format!("worst subscriber {:.3} %", report.subscribers.worst_reach * 100.0),
        ),
    ];
    if let Some(completion) = &report.completion_us {
        cards.push(Card::new(
            "Reached everybody",
            us(completion.p50),
            "median, from when it was due",
        ));
    }
    if let Some(server) = &report.server {
        let note = format!("{:.2} cores busy", server.cores_busy);
        cards.push(Card::new("Server CPU a delivery", duration_text(server.cost.ns()), note));
    }
    cards
}

fn text(report: &FanoutReport) -> String {
    let mut text = format!("{}\n", subtitle(report).replacen(": ", ": fan-out, ", 1));
    text += &format!(
        "rate      {} deliveries/s, {} messages/s, {:.2} MiB/s, over {:.2} s\n",
        grouped(report.rate_per_second),
        grouped(report.messages_per_second),
        report.mib_per_second,
        report.seconds
    );
    text += &latency_line(&report.latency_us);
    for (name, summary) in [
        ("from send", &report.uncorrected_latency_us),
        ("lag", &report.schedule_lag_us),
        ("complete", &report.completion_us),
    ] {
        if let Some(summary) = summary {
            text += &latency_line_named(name, summary);
        }
    }
    text += &use_lines(report.server.as_ref(), &report.client);
    text += &wire_line(report.wire.as_ref(), report.checked.compressed_connections > 0);
    text += &format!(
        "reach     {} of {} deliveries, {:.4} %\n",
        grouped(report.reach.deliveries as f64),
        grouped(report.reach.deliveries_due as f64),
        report.reach.share * 100.0
    );
    text += &subscribers_line(&report.subscribers);
    text + &check_lines(&report.checked, &report.errors)
}

/// The line on who got least.
fn subscribers_line(subscribers: &AttendanceSummary) -> String {
    format!(
        "each      {} of {} subscribers short of messages, worst reach {:.4} %, worst latency {}, most \
         twice {}, most out of order {}\n",
        grouped(subscribers.short as f64),
        grouped(subscribers.subscribers as f64),
        subscribers.worst_reach * 100.0,
        duration_text(subscribers.worst_latency_us * 1000.0),
        grouped(subscribers.most_duplicates as f64),
        grouped(subscribers.most_reordered as f64)
    )
}

/// Those who got least, if anybody was left out.
fn subscribers_table(subscribers: &AttendanceSummary) -> Option<Table> {
    let columns = [
        ("subscriber", "subscriber"),
        ("reach", "reach"),
        ("lost", "lost"),
        ("twice", "duplicates"),
        ("out of order", "reordered"),
        ("longest latency", "latency_max_us"),
    ];
    let cells = |one: &AttendeeSummary| {
        vec![
            Cell::text(one.subscriber.to_string()),
            Cell::number(format!("{:.4} %", one.reach * 100.0), one.reach),
            Cell::count(one.lost as f64),
            Cell::count(one.duplicates as f64),
            Cell::count(one.reordered as f64),
            Cell::us(one.latency_max_us),
        ]
    };
    let is_bad = |one: &&AttendeeSummary| one.lost + one.duplicates + one.reordered > 0;
    let rows: Vec<_> = subscribers.worst.iter().filter(is_bad).map(cells).collect();
    (!rows.is_empty()).then(|| Table::new("Subscribers that got least", &columns, rows))
}
