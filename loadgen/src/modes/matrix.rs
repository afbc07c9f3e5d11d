//! Matrix: a load with every combination of sizes, connections and rates, one after the other. Rows
//! do not influence each other: each has its own connections.

use std::sync::Arc;

use serde::Serialize;

use super::trial::{Study, Trial, Tried, option_name};
use crate::cli::{LoadKind, MatrixArguments};
use crate::exhibit::Exhibit;
use crate::expect::Figures;
use crate::failure::Failure;
use crate::interrupt;
use crate::latency::LatencySummary;
use crate::loads::Pace;
use crate::report::{ClientUse, Errors, Outcome, ServerUse};
use crate::schedule::Arrivals;
use crate::table::{Cell, Table};
use crate::target::Target;
use crate::think::Think;
use crate::truth;
use crate::wire::WireUse;

/// Payload bytes of one row that are under way at once; rows with more have fewer connections.
const UNDER_WAY_BYTES_MAX: usize = 256 << 20;

/// The JSON form.
#[derive(Debug, Serialize)]
struct MatrixReport {
    mode: &'static str,
    load: String,
    url: String,
    driver: String,
    /// The mean of the pauses, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    think_milliseconds: Option<Think>,
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
    /// Of a fan-out deliveries, here and in the rate.
    messages: u64,
    rate_per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reach: Option<f64>,
    latency_us: LatencySummary,
    server: Option<ServerUse>,
    client: ClientUse,
    wire: Option<WireUse>,
    errors: Errors,
    warnings: Vec<String>,
}

/// Runs the mode.
pub(crate) fn run(arguments: &MatrixArguments) -> Result<Outcome, Failure> {
    let study = Study {
        load: arguments.load,
        fanout: &arguments.fanout,
        server: &arguments.server,
        message: &arguments.message,
        engine: &arguments.engine,
        opening: &arguments.opening,
    };
    let target = Arc::new(arguments.server.target()?);
    let (mut rows, mut driver, mut stopped) = (Vec::new(), String::new(), None);
    let (mut figures, mut warnings) = (Vec::new(), Vec::new());
    for (payload, connections, rate) in combinations(arguments) {
        let tried = match study.run(trial(arguments, &target, (payload, connections, rate))) {
            // What was measured before is told.
            Err(failure) if !rows.is_empty() => {
                stopped = Some(failure.to_string());
                break;
            }
            tried => tried?,
        };
        driver.clone_from(&tried.driver);
        figures.push(tried.figures());
        let name = format!("{} bytes, {} connections", tried.payload_bytes, tried.connections);
        let named = |warning: &String| (name.clone(), warning.clone());
        warnings.extend(tried.doubts.warnings.iter().map(named));
        rows.push(row(rate, tried));
        if interrupt::is_interrupted() {
            break;
        }
    }
    let report = MatrixReport {
        mode: "matrix",
        load: option_name(arguments.load),
        url: target.url(),
        driver,
        think_milliseconds: arguments.think,
        interrupted: interrupt::is_interrupted(),
        stopped,
        rows,
    };
    let figures = Figures::worst_of(figures.into_iter());
    Ok(outcome(arguments.load, report).with_figures(figures).warning(truth::condensed(warnings)))
}

/// Payloads, connections and rates, each with each; no rate is a closed loop.
fn combinations(arguments: &MatrixArguments) -> Vec<(usize, usize, Option<f64>)> {
    let mut all = Vec::new();
    for &payload in &arguments.payloads {
        for &connections in &arguments.connections {
            let rates = arguments.rates.iter().map(|rate| rate.is_finite().then_some(*rate));
            all.extend(rates.map(|rate| (payload, connections, rate)));
        }
    }
    all
}

fn trial(
    arguments: &MatrixArguments,
    target: &Arc<Target>,
    (payload, connections, rate): (usize, usize, Option<f64>),
) -> Trial {
    let fitting = UNDER_WAY_BYTES_MAX / payload.max(1);
    Trial {
        target: Arc::clone(target),
        connections: connections.min(fitting.max(1)),
        payload,
        pace: rate
            .map(|rate| Pace::Rate(rate, Arrivals::Constant))
            .or(arguments.think.map(Pace::Think)),
        pipeline: None,
        warmup: arguments.seconds_per_row / 5,
        duration: arguments.seconds_per_row,
        server: arguments.server.watched(),
        label: format!("matrix, {payload} bytes, {connections} connections"),
    }
}

fn row(demanded_rate: Option<f64>, tried: Tried) -> Row {
    let (server, client) = tried.costs();
    Row {
        payload_bytes: tried.payload_bytes,
        connections: tried.connections,
        demanded_rate,
        messages: tried.window.received,
        rate_per_second: tried.window.rate(),
        reach: tried.reach,
        latency_us: tried.latency(),
        server,
        client,
        wire: tried.window.wire,
        errors: tried.errors,
        warnings: tried.doubts.warnings,
    }
}

fn outcome(load: LoadKind, report: MatrixReport) -> Outcome {
    let think = report.think_milliseconds.map(|think| format!("{think} of pause, "));
    let think = think.unwrap_or_default();
    let rows = report.rows.len();
    let subtitle = format!("{}: {think}{rows} rows, driver {}", report.url, report.driver);
    let table = table(load, &report);
    let mut text =
        format!("{}\n\n", subtitle.replacen(": ", &format!(": matrix, {}, ", report.load), 1));
    text += &table.text();
    for row in report.rows.iter().filter(|row| !row.errors.is_empty()) {
        let (bytes, connections) = (row.payload_bytes, row.connections);
        text +=
            &format!("WRONG     {bytes} bytes, {connections} connections: {}\n", row.errors.text());
    }
    if let Some(stopped) = &report.stopped {
        text += &format!("WRONG     the rest could not be run: {stopped}\n");
    }
    let sound = report.rows.iter().all(|row| row.errors.is_empty());
    let exhibit = Exhibit {
        title: "Matrix".to_owned(),
        subtitle,
        tables: vec![table],
        rows_are_the_result: true,
        ..Exhibit::default()
    };
    Outcome::new(&report, text, sound).whole_if(report.stopped.is_none()).showing(exhibit)
}

fn table(load: LoadKind, report: &MatrixReport) -> Table {
    let rate = format!("{}/s", load.units());
    let columns = [
        ("payload bytes", "payload_bytes"),
        ("connections", "connections"),
        ("demanded", "demanded_per_second"),
        (rate.as_str(), "received_per_second"),
        ("p50", "p50_us"),
        ("p99", "p99_us"),
        ("p99.9", "p999_us"),
        ("max", "max_us"),
        ("server CPU", "server_cpu_ns"),
        ("wire out", "wire_sent_bytes_per_message"),
        ("wire in", "wire_received_bytes_per_message"),
        ("wrong", "faults"),
    ];
    let cells = |row: &Row| {
        vec![
            Cell::count(row.payload_bytes as f64),
            Cell::count(row.connections as f64),
            row.demanded_rate.map_or_else(|| Cell::words("max"), Cell::count),
            Cell::count(row.rate_per_second),
            Cell::us(row.latency_us.p50),
            Cell::us(row.latency_us.p99),
            Cell::us(row.latency_us.p999),
            Cell::us(row.latency_us.max),
            Cell::ns(row.server.map(|server| server.cost.ns())),
            Cell::bytes(row.wire.map(|wire| wire.sent.bytes_per_message)),
            Cell::bytes(row.wire.map(|wire| wire.received.bytes_per_message)),
            Cell::count(row.errors.kinds().iter().map(|(_, count, _)| *count as f64).sum()),
        ]
    };
    Table::new("Sizes, connections, rates", &columns, report.rows.iter().map(cells).collect())
}
