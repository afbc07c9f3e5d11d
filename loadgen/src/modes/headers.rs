//! Headers: echoes payloads of each size class of the frame header (RFC 6455 section 5.2), whose
//! length takes 0, 2 or 8 bytes more; frames from a client carry 4 bytes of mask besides. An echo
//! has the same payload both ways, so the six paths are measured in pairs.

use std::sync::Arc;

use ringsock::MIB;
use ringsock::protocol::{FrameHeader, MessageKind};
use serde::Serialize;

use crate::cli::HeadersArguments;
use crate::exhibit::Exhibit;
use crate::expect::Figures;
use crate::failure::Failure;
use crate::interrupt;
use crate::latency::LatencySummary;
use crate::modes::echo_run::{EchoWork, Measured, Span};
use crate::output::grouped;
use crate::report::{Checked, ClientUse, Errors, Outcome, ServerUse, Unit, costs};
use crate::table::{Cell, Table};
use crate::truth;
use crate::watch::Watch;
use crate::wire::WireUse;

/// Both ends of each size class, and common sizes between.
const PAYLOADS_BYTES: [usize; 8] = [0, 20, 125, 126, 1000, 65_535, 65_536, MIB];
/// Payload bytes under way on all connections; rows with large payloads have fewer connections, so
/// that the caches are not what is measured.
const UNDER_WAY_BYTES_MAX: usize = 16 * MIB;

/// The JSON form.
#[derive(Debug, Serialize)]
struct HeadersReport {
    mode: &'static str,
    url: String,
    driver: String,
    pipeline: usize,
    interrupted: bool,
    /// Why the rest could not be run, if that was so.
    stopped: Option<String>,
    rows: Vec<Row>,
    paths: Vec<Path>,
}

/// One payload.
#[derive(Debug, Serialize)]
struct Row {
    payload_bytes: usize,
    client_header_bytes: usize,
    server_header_bytes: usize,
    connections: usize,
    seconds: f64,
    messages: u64,
    rate_per_second: f64,
    mib_per_second: f64,
    latency_us: LatencySummary,
    server: Option<ServerUse>,
    client: ClientUse,
    wire: Option<WireUse>,
    checked: Checked,
    errors: Errors,
}

/// One size of a header in one direction, over all rows that have it.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Path {
    direction: &'static str,
    header_bytes: usize,
    payload_bytes_min: usize,
    payload_bytes_max: usize,
    messages: u64,
    compared: u64,
    sound: bool,
}

/// Runs the mode.
pub(crate) fn run(arguments: &HeadersArguments) -> Result<Outcome, Failure> {
    let server = &arguments.server;
    let target = Arc::new(server.target()?);
    let span = Span {
        duration: arguments.seconds_per_row,
        warmup: arguments.seconds_per_row / 5,
        hold: std::time::Duration::ZERO,
        server: server.watched(),
    };
    let mut rows = Vec::new();
    let mut driver = String::new();
    let (mut warnings, mut stopped) = (Vec::new(), None);
    for payload_bytes in PAYLOADS_BYTES {
        let under_way = payload_bytes.max(1) * arguments.pipeline;
        let work = EchoWork {
            target: Arc::clone(&target),
            connections: arguments.connections.min((UNDER_WAY_BYTES_MAX / under_way).max(1)),
            ramp: arguments.opening.ramp,
            content: arguments.message.content(payload_bytes, server)?,
            pipeline: Some(arguments.pipeline),
            pace: None,
            messages: None,
        };
        let watch = Watch::new(format!("headers, {payload_bytes} bytes"), server.server_pid);
        let measured = match work.run(&arguments.engine, span, watch) {
            // What was measured before is told.
            Err(failure) if !rows.is_empty() => {
                stopped = Some(failure.to_string());
                break;
            }
            measured => measured?,
        };
        driver.clone_from(&measured.driver);
        let named = |warning: &String| (format!("{payload_bytes} bytes"), warning.clone());
        warnings.extend(measured.doubts.warnings.iter().map(named));
        rows.push(row(measured));
        if interrupt::is_interrupted() {
            break;
        }
    }
    let (url, pipeline) = (target.url(), arguments.pipeline);
    let paths = paths(&rows);
    let interrupted = interrupt::is_interrupted();
    let mode = "headers";
    let report = HeadersReport { mode, url, driver, pipeline, interrupted, stopped, rows, paths };
    let sound = report.rows.iter().all(|row| row.errors.is_empty());
    let text = text(&report);
    let exhibit = Exhibit {
        title: "Headers".to_owned(),
        subtitle: subtitle(&report),
        tables: vec![table(&report)],
        rows_are_the_result: true,
        ..Exhibit::default()
    };
    Ok(Outcome::new(&report, text, sound)
        .whole_if(report.stopped.is_none())
        .with_figures(Figures::worst_of(report.rows.iter().map(figures)))
        .showing(exhibit)
        .warning(truth::condensed(warnings)))
}

/// What conditions are held against in one row.
fn figures(row: &Row) -> Figures {
    Figures::default()
        .with_latency(&row.latency_us)
        .with_errors(&row.errors)
        .with_server(row.server.as_ref())
        .with("rate", row.rate_per_second)
}

fn subtitle(report: &HeadersReport) -> String {
    format!(
        "{}: {} under way on each connection, driver {}",
        report.url, report.pipeline, report.driver
    )
}

fn table(report: &HeadersReport) -> Table {
    let columns = [
        ("payload bytes", "payload_bytes"),
        ("header to server", "client_header_bytes"),
        ("header to client", "server_header_bytes"),
        ("connections", "connections"),
        ("messages/s", "messages_per_second"),
        ("MiB/s", "mib_per_second"),
        ("p50", "p50_us"),
        ("p99", "p99_us"),
        ("server CPU a message", "server_cpu_ns_per_message"),
        ("wire to server", "wire_sent_bytes_per_message"),
        ("wire to client", "wire_received_bytes_per_message"),
    ];
    let cells = |row: &Row| {
        vec![
            Cell::count(row.payload_bytes as f64),
            Cell::count(row.client_header_bytes as f64),
            Cell::count(row.server_header_bytes as f64),
            Cell::count(row.connections as f64),
            Cell::count(row.rate_per_second),
            Cell::number(format!("{:.1}", row.mib_per_second), row.mib_per_second),
            Cell::us(row.latency_us.p50),
            Cell::us(row.latency_us.p99),
            Cell::ns(row.server.map(|server| server.cost.ns())),
            Cell::bytes(row.wire.map(|wire| wire.sent.bytes_per_message)),
            Cell::bytes(row.wire.map(|wire| wire.received.bytes_per_message)),
        ]
    };
    Table::new("Echoes by payload", &columns, report.rows.iter().map(cells).collect())
}

/// Bytes of a frame's header, with a mask and without.
fn header_bytes(payload_bytes: usize) -> (usize, usize) {
    let size = |mask| {
        let opcode = MessageKind::Binary.opcode();
        let payload_bytes = payload_bytes as u64;
        FrameHeader { fin: true, compressed: false, opcode, mask, payload_bytes }.encode().1
    };
    (size(Some([0; 4])), size(None))
}

fn row(measured: Measured) -> Row {
    let Measured { window, recorded, checked, errors, connections, payload_bytes, .. } = measured;
    let (client_header_bytes, server_header_bytes) = header_bytes(payload_bytes);
    let (server, client) = costs(&window, Unit::Message, window.received);
    let rate_per_second = window.rate();
    Row {
        payload_bytes,
        client_header_bytes,
        server_header_bytes,
        connections,
        seconds: window.seconds,
        messages: window.received,
        rate_per_second,
        mib_per_second: rate_per_second * payload_bytes as f64 / MIB as f64,
        latency_us: recorded.readings.latency.summary(),
        server,
        client,
        wire: window.wire,
        checked,
        errors,
    }
}

/// The six paths, those of the client first.
fn paths(rows: &[Row]) -> Vec<Path> {
    let mut paths: Vec<Path> = Vec::new();
    for (direction, by_client) in [("client to server", true), ("server to client", false)] {
        for row in rows {
            let header_bytes =
                if by_client { row.client_header_bytes } else { row.server_header_bytes };
            let (messages, compared) = (row.checked.received, row.checked.compared);
            let sound = row.errors.is_empty();
            let known = paths
                .iter_mut()
                .find(|path| (path.direction, path.header_bytes) == (direction, header_bytes));
            match known {
                Some(path) => {
                    path.payload_bytes_max = row.payload_bytes;
                    path.messages += messages;
                    path.compared += compared;
                    path.sound &= sound;
                }
                None => paths.push(Path {
                    direction,
                    header_bytes,
                    payload_bytes_min: row.payload_bytes,
                    payload_bytes_max: row.payload_bytes,
                    messages,
                    compared,
                    sound,
                }),
            }
        }
    }
    paths
}

fn text(report: &HeadersReport) -> String {
    let mut text = format!("{}\n\n", subtitle(report).replacen(": ", ": headers, ", 1));
    text += "  payload  header ->  header <-  conns   messages/s     MiB/s     p50 µs     p99 µs   \
             server ns/msg\n";
    for row in &report.rows {
        let server = row.server.map_or_else(|| "-".to_owned(), |server| grouped(server.cost.ns()));
        text += &format!(
            "{:>9}  {:>9}  {:>9}  {:>5}  {:>11}  {:>8.1}  {:>9.1}  {:>9.1}  {:>14}{}\n",
            row.payload_bytes,
            row.client_header_bytes,
            row.server_header_bytes,
            row.connections,
            grouped(row.rate_per_second),
            row.mib_per_second,
            row.latency_us.p50,
            row.latency_us.p99,
            server,
            if row.errors.is_empty() { "" } else { "  WRONG" }
        );
    }
    text.push('\n');
    for path in &report.paths {
        text += &format!(
            "{}, header of {:>2} bytes: {} for payloads of {} to {} bytes, {} messages, {} \
             compared byte for byte\n",
            path.direction,
            path.header_bytes,
            if path.sound { "right" } else { "WRONG" },
            path.payload_bytes_min,
            path.payload_bytes_max,
            grouped(path.messages as f64),
            grouped(path.compared as f64)
        );
    }
    for row in report.rows.iter().filter(|row| !row.errors.is_empty()) {
        let fault = row.errors.first.as_deref().unwrap_or("messages were lost");
        text += &format!("WRONG     {} bytes: {fault}\n", row.payload_bytes);
    }
    if let Some(stopped) = &report.stopped {
        text += &format!("WRONG     the rest could not be run: {stopped}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payloads_take_all_six_paths_and_both_ends_of_each() {
        let sizes = PAYLOADS_BYTES.map(header_bytes);
        assert_eq!(sizes, [(6, 2), (6, 2), (6, 2), (8, 4), (8, 4), (8, 4), (14, 10), (14, 10)]);
    }
}
