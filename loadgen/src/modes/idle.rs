//! Idle: opens connections that echo one message each and then stay, and tells what they cost the
//! server in memory and CPU time and how soon they answer Pings. No other load is made while they
//! stay.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cli::IdleArguments;
use crate::crew::{Crew, LoadSize, sample_server};
use crate::exhibit::{Card, Exhibit, Series};
use crate::expect::Figures;
use crate::failure::{Failure, Phase};
use crate::interrupt;
use crate::latency::LatencySummary;
use crate::loads::{IdlePlan, Settlers};
use crate::output::{duration_text, grouped, mib};
use crate::procfs::ProcessSample;
use crate::report::{
    Checked, ClientUse, Errors, Outcome, ServerUse, Unit, check_lines, costs, latency_line,
    latency_line_named,
};
use crate::truth;
use crate::usage::Window;
use crate::watch::{Recorded, Watch};

/// Time for the server to give back what only opening needed.
const SETTLE_TIME: Duration = Duration::from_millis(500);

/// The JSON form.
#[derive(Debug, Serialize)]
struct IdleReport {
    mode: &'static str,
    url: String,
    driver: String,
    connections: usize,
    /// Those that could be opened.
    opened: u64,
    payload_bytes: usize,
    interrupted: bool,
    /// Until the last connection had its echo.
    opening_seconds: f64,
    rate_per_second: f64,
    /// From the request to connect to the echo, for each connection.
    latency_us: LatencySummary,
    hold_seconds: f64,
    /// From when a Ping was due to its Pong.
    #[serde(skip_serializing_if = "Option::is_none")]
    ping_us: Option<LatencySummary>,
    /// How late Pings were sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule_lag_us: Option<LatencySummary>,
    pings_lost: u64,
    server: Option<ServerMemory>,
    opening: Use,
    holding: Use,
    checked: Checked,
    errors: Errors,
    warnings: Vec<String>,
}

/// What both sides used in a part of the run, by connection.
#[derive(Debug, Serialize)]
struct Use {
    server: Option<ServerUse>,
    client: ClientUse,
}

impl Use {
    fn of(window: &Window, connections: u64) -> Self {
        let (server, client) = costs(window, Unit::Connection, connections);
        Self { server, client }
    }
}

/// The server's memory: before, with all connections open, and after the hold.
#[derive(Debug, Serialize)]
struct ServerMemory {
    anon_bytes_before: u64,
    anon_bytes: u64,
    anon_bytes_after_hold: u64,
    /// Less than zero where the server gave back more than the connections took.
    anon_bytes_per_connection: f64,
    rss_bytes_per_connection: f64,
}

/// Runs the mode.
pub(crate) fn run(arguments: &IdleArguments) -> Result<Outcome, Failure> {
    let server = &arguments.server;
    let connections = arguments.connections;
    let plan = Arc::new(IdlePlan {
        target: Arc::new(server.target()?),
        connections,
        content: arguments.message.content(arguments.payload, server)?,
        ramp: arguments.opening.ramp,
        ping_rate: arguments
            .ping_interval
            .map(|interval| connections as f64 / interval.as_secs_f64()),
    });
    let before = server.server_pid.map(sample_server).transpose()?;
    let shared = Arc::clone(&plan);
    let load = LoadSize::new(connections, &plan.content, 1);
    let mut watch = Watch::new("idle", server.server_pid);
    let began = Instant::now();
    let crew =
        Crew::start(&arguments.engine, &plan.target, server.watched(), load, move |place| {
            Settlers::new(&shared, place)
        })?;
    crew.count_system_calls();
    let first = crew.sample();
    open_all(&crew, &plan, &mut watch)?;
    let opened = crew.opened()?;
    let opening_seconds = began.elapsed().as_secs_f64();
    let opening = crew.counted_since(&first);
    thread::sleep(SETTLE_TIME);
    let settled = server.server_pid.and_then(|process| ProcessSample::of(process).ok());
    let holding = hold(&crew, arguments.hold, &mut watch)?;
    let held = server.server_pid.and_then(|process| ProcessSample::of(process).ok());
    crew.drain(|totals| totals.pongs >= totals.pings);
    let driver = crew.driver();
    let board = crew.end()?;
    let totals = board.totals();
    let recorded = watch.finish(&board);
    let memory = before.zip(settled).zip(held);
    let memory = memory.map(|((before, opened_with), held)| {
        ServerMemory::new(&before, &opened_with, &held, opened)
    });
    let report = IdleReport {
        mode: "idle",
        url: plan.target.url(),
        driver,
        connections,
        opened,
        payload_bytes: arguments.payload,
        interrupted: interrupt::is_interrupted(),
        opening_seconds,
        rate_per_second: opened as f64 / opening_seconds.max(1e-9),
        latency_us: recorded.readings.latency.summary(),
        hold_seconds: holding.seconds,
        ping_us: recorded.readings.ping.as_ref().map(|all| all.summary()),
        schedule_lag_us: recorded.readings.lag.as_ref().map(|all| all.summary()),
        pings_lost: totals.pings.saturating_sub(totals.pongs),
        opening: Use::of(&opening, opened),
        holding: Use::of(&holding, opened),
        checked: Checked::of(&board, &totals),
        errors: Errors::new(&board, &totals, opened),
        warnings: warnings(&opening, &holding, &recorded, memory.as_ref()),
        server: memory,
    };
    Ok(outcome(report, recorded))
}

fn outcome(report: IdleReport, recorded: Recorded) -> Outcome {
    let sound = report.errors.is_empty();
    let exhibit = Exhibit {
        title: "Idle connections".to_owned(),
        subtitle: subtitle(&report),
        cards: cards(&report),
        series: series(recorded),
        ..Exhibit::default()
    };
    Outcome::new(&report, text(&report), sound)
        .whole_if(report.pings_lost == 0)
        .with_figures(figures(&report))
        .showing(exhibit)
        .warning(report.warnings)
}

/// What is to be known before it is believed: of the opening, of the hold, and of the memory.
fn warnings(
    opening: &Window,
    holding: &Window,
    recorded: &Recorded,
    memory: Option<&ServerMemory>,
) -> Vec<String> {
    let while_opening = truth::doubts(opening, None, &Recorded::default()).warnings;
    let mut all: Vec<String> =
        while_opening.into_iter().map(|warning| format!("while opening, {warning}")).collect();
    // Once is enough of what holds for both.
    all.retain(|warning| !warning.ends_with(truth::CALLS_COUNTED));
    all.extend(truth::doubts(holding, None, recorded).warnings);
    if memory.is_some_and(|memory| memory.anon_bytes_per_connection < 0.0) {
        all.push(
            "the server has less memory with the connections than before: it had some to spare, so \
             what a connection costs is not known; start it afresh for this"
                .to_owned(),
        );
    }
    all
}

fn series(recorded: Recorded) -> Vec<Series> {
    let line = |name: &str, timeline, latency| Series {
        name: name.to_owned(),
        timeline,
        latency,
        uncorrected: None,
    };
    let (readings, timeline) = (recorded.readings, recorded.timeline);
    let ping = readings.ping.map(|all| line("ping to pong", timeline, *all));
    let opening = line("connect to first echo", Vec::new(), readings.latency);
    [Some(opening), ping].into_iter().flatten().collect()
}

fn figures(report: &IdleReport) -> Figures {
    let mut figures = Figures::default()
        .with_latency(&report.latency_us)
        .with_errors(&report.errors)
        .with("rate", report.rate_per_second);
    for (name, summary) in [("ping", &report.ping_us), ("lag", &report.schedule_lag_us)] {
        if let Some(summary) = summary {
            figures = figures.with(name, summary.p99 * 1000.0);
        }
    }
    // What it costs to open one; while they stay it is the time that costs.
    figures = figures.with_calls(report.opening.server.and_then(|server| server.call_cost));
    match &report.server {
        // What is not known is no reason for a condition to hold.
        Some(memory) if memory.anon_bytes_per_connection >= 0.0 => {
            figures.with("bytes-per-connection", memory.anon_bytes_per_connection)
        }
        _ => figures,
    }
}

fn subtitle(report: &IdleReport) -> String {
    let connections = grouped(report.connections as f64);
    format!("{}: {connections} connections, driver {}", report.url, report.driver)
}

/// Bytes, which may be fewer than before.
fn signed(bytes: f64) -> String {
    let sign = if bytes < 0.0 { "-" } else { "" };
    format!("{sign}{}", grouped(bytes.abs()))
}

fn cards(report: &IdleReport) -> Vec<Card> {
    let us = |us: f64| duration_text(us * 1000.0);
    let mut cards = vec![Card::new(
        "Opened a second",
        grouped(report.rate_per_second),
        format!("{:.2} s for all", report.opening_seconds),
    )];
    if let Some(memory) = &report.server {
        cards.push(Card::new(
            "Server memory a connection",
            format!("{} B", signed(memory.anon_bytes_per_connection)),
            "anonymous, resident",
        ));
    }
    if let Some(server) = &report.opening.server {
        let note = "to open it and echo once";
        cards.push(Card::new("Server CPU a connection", duration_text(server.cost.ns()), note));
    }
    if let Some(ping) = &report.ping_us {
        cards.push(Card::new("Ping p50", us(ping.p50), format!("{} pings", ping.count)));
        cards.push(Card::new("Ping p99", us(ping.p99), format!("longest {}", us(ping.max))));
    }
    cards
}

/// Waits until every connection has its echo, or will not have it.
fn open_all(crew: &Crew, plan: &IdlePlan, watch: &mut Watch) -> Result<(), Failure> {
    crew.wait_until(Phase::Handshake, watch, |totals| {
        totals.received + totals.forfeited + totals.unopened >= plan.connections as u64
    })
}

/// Leaves the connections alone, but for Pings. Nothing else moves meanwhile.
fn hold(crew: &Crew, span: Duration, watch: &mut Watch) -> Result<Window, Failure> {
    const GLANCE: Duration = Duration::from_millis(100);
    watch.begin("holding", Some(span));
    let before = crew.start_counting()?;
    let end = Instant::now() + span;
    crew.board().begin_schedule(crew.board().nanoseconds());
    while let Some(left) = end.checked_duration_since(Instant::now())
        && !interrupt::is_interrupted()
    {
        thread::sleep(left.min(GLANCE));
        watch.look(crew.board(), &crew.board().totals());
        if let Some(failure) = crew.board().failure() {
            return Err(failure);
        }
    }
    Ok(crew.counted_since(&before))
}

impl ServerMemory {
    fn new(
        before: &ProcessSample,
        opened: &ProcessSample,
        held: &ProcessSample,
        connections: u64,
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
        "{}\nopening   {:.2} s, {} connections/s\n",
        subtitle(report).replacen(": ", ": idle, ", 1),
        report.opening_seconds,
        grouped(report.rate_per_second)
    );
    text += &latency_line(&report.latency_us);
    if let Some(ping) = &report.ping_us {
        text += &latency_line_named("ping", ping);
    }
    if let Some(lag) = &report.schedule_lag_us {
        text += &latency_line_named("lag", lag);
    }
    if report.pings_lost > 0 {
        text += &format!("WRONG     {} pings without an answer\n", report.pings_lost);
    }
    if let Some(memory) = &report.server {
        text += &format!(
            "server    {} bytes of anonymous memory a connection: {} MiB before, {} MiB with all \
             open, {} MiB after {:.0} s\n",
            signed(memory.anon_bytes_per_connection),
            mib(memory.anon_bytes_before),
            mib(memory.anon_bytes),
            mib(memory.anon_bytes_after_hold),
            report.hold_seconds
        );
    }
    for (name, used) in [("opening", &report.opening), ("holding", &report.holding)] {
        text += &use_line(name, used);
        text += &used.server.map(|server| server.calls_line()).unwrap_or_default();
    }
    text + &check_lines(&report.checked, &report.errors)
}

/// What both sides used in a part of the run.
fn use_line(name: &str, used: &Use) -> String {
    let server = used.server.map_or_else(String::new, |server| {
        format!("server {}, {:.2} cores busy; ", server.cost.text(), server.cores_busy)
    });
    format!(
        "{name:<9} {server}client {}, {:.2} cores busy, busiest thread {:.0} %\n",
        used.client.cost.text(),
        used.client.cores_busy,
        used.client.busiest_thread * 100.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_shrank_is_no_figure_and_is_warned_of() {
        let memory = |anon_bytes_per_connection| ServerMemory {
            anon_bytes_before: 0,
            anon_bytes: 0,
            anon_bytes_after_hold: 0,
            anon_bytes_per_connection,
            rss_bytes_per_connection: 0.0,
        };
        let (window, recorded) = (Window::default(), Recorded::default());
        let told = |each| warnings(&window, &window, &recorded, Some(&memory(each)));
        assert!(told(5.0).is_empty());
        assert!(told(-5.0)[0].contains("start it afresh"));
        assert_eq!([signed(-1234.4), signed(7.0)], ["-1,234", "7"]);
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
