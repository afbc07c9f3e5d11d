//! Matrix: echoes with every combination of sizes, connections and rates, one after the other. Rows
//! do not influence each other: each has its own connections.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::echo_run::{EchoWork, Measured, Span};
use crate::cli::MatrixArguments;
use crate::exhibit::{Exhibit, Table};
use crate::failure::Failure;
use crate::interrupt;
use crate::latency::LatencySummary;
use crate::loads::Pace;
use crate::output::{duration_text, grouped, table_text};
use crate::report::{ClientUse, Errors, Outcome, ServerUse, Unit, costs};
use crate::schedule::Arrivals;
use crate::truth;
use crate::watch::Watch;

/// Payload bytes of one row that are under way at once; rows with more have fewer connections.
const UNDER_WAY_BYTES_MAX: usize = 256 << 20;

/// The JSON form.
#[derive(Debug, Serialize)]
struct MatrixReport {
    mode: &'static str,
    url: String,
    driver: String,
    interrupted: bool,
    /// Why the rest could not be run, if that was so.
    stopped: Option<String>,
    rows: Vec<Row>,
}

/// One combination.
#[derive(Debug, Serialize)]
struct Row {
    payload_bytes: usize,
    connections: usize,
    /// Messages a second; `null` for a closed loop.
    demanded_rate: Option<f64>,
    messages: u64,
    rate_per_second: f64,
    latency_us: LatencySummary,
    server: Option<ServerUse>,
    client: ClientUse,
    errors: Errors,
    warnings: Vec<String>,
}

/// Runs the mode.
pub(crate) fn run(arguments: &MatrixArguments) -> Result<Outcome, Failure> {
    let target = Arc::new(arguments.server.target()?);
    let (mut rows, mut driver, mut stopped) = (Vec::new(), String::new(), None);
    'rows: for &payload_bytes in &arguments.payloads {
        for &connections in &arguments.connections {
            for &rate in &arguments.rates {
                let rate = rate.is_finite().then_some(rate);
                let fitting = UNDER_WAY_BYTES_MAX / payload_bytes.max(1);
                let work = EchoWork {
                    target: Arc::clone(&target),
                    connections: connections.min(fitting.max(1)),
                    content: arguments.message.content(payload_bytes, &arguments.server)?,
                    pipeline: None,
                    pace: rate.map(|rate| Pace::Rate(rate, Arrivals::Constant)),
                    messages: None,
                };
                let span = Span {
                    duration: arguments.seconds_per_row,
                    warmup: arguments.seconds_per_row / 5,
                    hold: Duration::ZERO,
                    server_pid: arguments.server.server_pid,
                };
                let label = format!("matrix, {payload_bytes} bytes, {connections} connections");
                let watch = Watch::new(label, span.server_pid);
                let measured = match work.run(&arguments.engine, span, watch) {
                    // What was measured before is told.
                    Err(failure) if !rows.is_empty() => {
                        stopped = Some(failure.to_string());
                        break 'rows;
                    }
                    measured => measured?,
                };
                driver.clone_from(&measured.driver);
                rows.push(row(rate, measured));
                if interrupt::is_interrupted() {
                    break 'rows;
                }
            }
        }
    }
    let interrupted = interrupt::is_interrupted();
    let url = target.url();
    Ok(outcome(MatrixReport { mode: "matrix", url, driver, interrupted, stopped, rows }))
}

fn row(demanded_rate: Option<f64>, measured: Measured) -> Row {
    let window = measured.window;
    let (server, client) = costs(&window, Unit::Message, window.received);
    Row {
        payload_bytes: measured.payload_bytes,
        connections: measured.connections,
        demanded_rate,
        messages: window.received,
        rate_per_second: window.rate(),
        latency_us: measured.recorded.readings.latency.summary(),
        server,
        client,
        errors: measured.errors,
        warnings: measured.warnings,
    }
}

fn outcome(report: MatrixReport) -> Outcome {
    let subtitle = format!("{}: {} rows, driver {}", report.url, report.rows.len(), report.driver);
    let table = table(&report);
    let mut text = format!("{}\n\n", subtitle.replacen(": ", ": matrix, ", 1));
    text += &table_text(&table.columns, &table.rows);
    for row in report.rows.iter().filter(|row| !row.errors.is_empty()) {
        let (bytes, connections) = (row.payload_bytes, row.connections);
        text +=
            &format!("WRONG     {bytes} bytes, {connections} connections: {}\n", row.errors.text());
    }
    if let Some(stopped) = &report.stopped {
        text += &format!("WRONG     the rest could not be run: {stopped}\n");
    }
    let named = |row: &Row| {
        let name = format!("{} bytes, {} connections", row.payload_bytes, row.connections);
        row.warnings.iter().map(move |warning| (name.clone(), warning.clone())).collect::<Vec<_>>()
    };
    let warnings = truth::condensed(report.rows.iter().flat_map(named).collect());
    let right = report.rows.iter().all(|row| row.errors.is_empty());
    let sound = right && report.stopped.is_none();
    let exhibit =
        Exhibit { title: "Matrix".to_owned(), subtitle, tables: vec![table], ..Exhibit::default() };
    Outcome::new(&report, text, sound).showing(exhibit).warning(warnings)
}

fn table(report: &MatrixReport) -> Table {
    let columns = [
        "payload bytes",
        "connections",
        "demanded",
        "messages/s",
        "p50",
        "p99",
        "p99.9",
        "max",
        "server CPU",
        "wrong",
    ];
    let us = |us: f64| duration_text(us * 1000.0);
    let cells = |row: &Row| {
        vec![
            grouped(row.payload_bytes as f64),
            grouped(row.connections as f64),
            row.demanded_rate.map_or_else(|| "max".to_owned(), grouped),
            grouped(row.rate_per_second),
            us(row.latency_us.p50),
            us(row.latency_us.p99),
            us(row.latency_us.p999),
            us(row.latency_us.max),
            row.server.map_or_else(|| "-".to_owned(), |server| duration_text(server.cost.ns())),
            grouped(row.errors.kinds().iter().map(|(_, count, _)| *count as f64).sum()),
        ]
    };
    Table {
        title: "Sizes, connections, rates".to_owned(),
        columns: columns.map(str::to_owned).to_vec(),
        rows: report.rows.iter().map(cells).collect(),
    }
}
