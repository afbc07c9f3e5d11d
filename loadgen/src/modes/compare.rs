//! Compare: two servers in turns, A B B A, so that a machine that becomes slower does so for both.
//! It tells ratios with the interval that they lie in, and says when there is no difference to see.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::echo_run::{EchoWork, Measured, Span};
use crate::cli::CompareArguments;
use crate::exhibit::{Exhibit, Ratio, Series, Table};
use crate::failure::Failure;
use crate::interrupt;
use crate::latency::Latencies;
use crate::loads::Pace;
use crate::output::{duration_text, grouped, table_text};
use crate::report::{Errors, Outcome, Unit, costs};
use crate::server_process::ServerProcess;
use crate::statistics::{geometric_mean, ratio_of_pairs};
use crate::target::Target;
use crate::timeline::Point;
use crate::truth;
use crate::watch::Watch;

/// What is compared.
struct Measure {
    what: &'static str,
    text: fn(f64) -> String,
    more_is_better: bool,
}

const MEASURES: [Measure; 4] = [
    Measure { what: "messages a second", text: grouped, more_is_better: true },
    Measure { what: "median latency", text: duration_text, more_is_better: false },
    Measure { what: "p99 latency", text: duration_text, more_is_better: false },
    Measure { what: "server CPU a message", text: duration_text, more_is_better: false },
];

/// The JSON form.
#[derive(Debug, Serialize)]
struct CompareReport {
    mode: &'static str,
    names: [String; 2],
    urls: [String; 2],
    connections: usize,
    payload_bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    demanded_rate: Option<f64>,
    interrupted: bool,
    /// Why the rest could not be run, if that was so.
    stopped: Option<String>,
    ratios: Vec<Ratio>,
    rounds: Vec<[Round; 2]>,
    errors: [Vec<Errors>; 2],
}

/// One run on one server. Times are in nanoseconds.
#[derive(Clone, Copy, Debug, Serialize)]
struct Round {
    rate_per_second: f64,
    p50_ns: f64,
    p99_ns: f64,
    server_cpu_ns_per_message: Option<f64>,
}

impl Round {
    fn new(measured: &Measured) -> Self {
        let latency = &measured.recorded.readings.latency;
        let window = &measured.window;
        let (server, _) = costs(window, Unit::Message, window.received);
        Self {
            rate_per_second: window.rate(),
            p50_ns: latency.quantile_ns(0.5) as f64,
            p99_ns: latency.quantile_ns(0.99) as f64,
            server_cpu_ns_per_message: server.map(|server| server.cost.ns()),
        }
    }

    /// In the order of the measures.
    fn values(&self) -> [Option<f64>; 4] {
        let (rate, p50, p99) = (self.rate_per_second, self.p50_ns, self.p99_ns);
        [Some(rate), Some(p50), Some(p99), self.server_cpu_ns_per_message]
    }
}

/// One of the two.
struct Side {
    target: Arc<Target>,
    server_pid: Option<u32>,
    name: String,
    latency: Latencies,
    timeline: Vec<Point>,
    errors: Vec<Errors>,
    warnings: Vec<(String, String)>,
}

impl Side {
    fn new(target: Target, server_pid: Option<u32>, name: &str) -> Self {
        Self {
            target: Arc::new(target),
            server_pid,
            name: name.to_owned(),
            latency: Latencies::default(),
            timeline: Vec::new(),
            errors: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn run(&mut self, arguments: &CompareArguments, round: u32) -> Result<Round, Failure> {
        let work = EchoWork {
            target: Arc::clone(&self.target),
            connections: arguments.connections,
            content: arguments.message.content(arguments.payload, &arguments.server)?,
            pipeline: arguments.pipeline,
            pace: arguments.rate.rate().map(|(rate, arrivals)| Pace::Rate(rate, arrivals)),
            messages: None,
        };
        let span = Span {
            duration: arguments.seconds_per_run,
            warmup: arguments.seconds_per_run / 4,
            hold: Duration::ZERO,
            server_pid: self.server_pid,
        };
        let label = format!("compare, round {} of {}, {}", round + 1, arguments.rounds, self.name);
        let measured = work.run(&arguments.engine, span, Watch::new(label, self.server_pid))?;
        let result = Round::new(&measured);
        self.latency.merge(&measured.recorded.readings.latency);
        let offset = f64::from(round) * arguments.seconds_per_run.as_secs_f64();
        let moved = |point: &Point| Point { at: point.at + offset, ..*point };
        self.timeline.extend(measured.recorded.timeline.iter().map(moved));
        if !measured.errors.is_empty() {
            self.errors.push(measured.errors);
        }
        for warning in measured.warnings {
            self.warnings.push((format!("{}, round {}", self.name, round + 1), warning));
        }
        Ok(result)
    }
}

/// Runs the mode.
pub(crate) fn run(arguments: &CompareArguments) -> Result<Outcome, Failure> {
    let server = &arguments.server;
    let target = server.target_of(&arguments.url_b)?;
    let started = match &arguments.server_cmd_b {
        Some(command) => {
            let cores = server.server_cores.as_ref();
            Some(ServerProcess::start(command, cores, target.address())?)
        }
        None => None,
    };
    let pid_b = started.as_ref().map(ServerProcess::id).or(arguments.server_pid_b);
    let mut a = Side::new(server.target()?, server.server_pid, &arguments.name_a);
    let mut b = Side::new(target, pid_b, &arguments.name_b);
    let (mut rounds, mut stopped) = (Vec::new(), None);
    for round in 0..arguments.rounds {
        let pair = match run_pair(&mut a, &mut b, arguments, round) {
            // What was measured before is told.
            Err(failure) if !rounds.is_empty() => {
                stopped = Some(failure.to_string());
                break;
            }
            pair => pair?,
        };
        // Half a round compares nothing.
        if interrupt::is_interrupted() {
            break;
        }
        rounds.push(pair);
    }
    if rounds.is_empty() {
        return Err(Failure::interrupted());
    }
    drop(started);
    Ok(outcome(arguments, [a, b], rounds, stopped))
}

fn run_pair(
    a: &mut Side,
    b: &mut Side,
    arguments: &CompareArguments,
    round: u32,
) -> Result<[Round; 2], Failure> {
    // Who is first alternates: what being first or second does to a run, it does to both.
    if round.is_multiple_of(2) {
        let of_a = a.run(arguments, round)?;
        return Ok([of_a, b.run(arguments, round)?]);
    }
    let of_b = b.run(arguments, round)?;
    Ok([a.run(arguments, round)?, of_b])
}

fn outcome(
    arguments: &CompareArguments,
    sides: [Side; 2],
    rounds: Vec<[Round; 2]>,
    stopped: Option<String>,
) -> Outcome {
    let names = [sides[0].name.clone(), sides[1].name.clone()];
    let ratios: Vec<Ratio> =
        (0..MEASURES.len()).filter_map(|measure| ratio(measure, &names, &rounds)).collect();
    let table = table(&names, &rounds);
    let [a, b] = sides;
    let sound = a.errors.is_empty() && b.errors.is_empty() && stopped.is_none();
    let warnings = truth::condensed([a.warnings, b.warnings].concat());
    let report = CompareReport {
        mode: "compare",
        urls: [a.target.url(), b.target.url()],
        connections: arguments.connections,
        payload_bytes: arguments.payload,
        demanded_rate: arguments.rate.rate,
        interrupted: interrupt::is_interrupted(),
        stopped,
        ratios: ratios.clone(),
        rounds,
        errors: [a.errors, b.errors],
        names,
    };
    let text = text(&report, &table);
    let line = |name: &String, timeline, latency| Series {
        name: name.clone(),
        timeline,
        latency,
        uncorrected: None,
    };
    let exhibit = Exhibit {
        title: format!("{} against {}", report.names[1], report.names[0]),
        subtitle: subtitle(&report),
        series: vec![
            line(&report.names[0], a.timeline, a.latency),
            line(&report.names[1], b.timeline, b.latency),
        ],
        ratios,
        tables: vec![table],
        ..Exhibit::default()
    };
    Outcome::new(&report, text, sound).showing(exhibit).warning(warnings)
}

/// The ratio of one measure, if both sides told it.
fn ratio(measure: usize, names: &[String; 2], rounds: &[[Round; 2]]) -> Option<Ratio> {
    let Measure { what, text, more_is_better } = MEASURES[measure];
    let pair = |[a, b]: &[Round; 2]| Some((a.values()[measure]?, b.values()[measure]?));
    let pairs: Vec<(f64, f64)> = rounds.iter().map(pair).collect::<Option<_>>()?;
    let interval = ratio_of_pairs(&pairs)?;
    let (of_a, of_b): (Vec<f64>, Vec<f64>) = pairs.into_iter().unzip();
    let percent = |ratio: f64| format!("{:.1} %", (ratio - 1.0).abs() * 100.0);
    let more = interval.ratio > 1.0;
    let sure = interval.low > 1.0 || interval.high < 1.0;
    let verdict = match sure {
        true => format!(
            "{} has {} {}, which is {}",
            names[1],
            percent(interval.ratio),
            if more { "more" } else { "less" },
            if more == more_is_better { "better" } else { "worse" }
        ),
        false => format!(
            "no difference is sure; with 95 % confidence the ratio lies between {:.3} and {:.3}",
            interval.low, interval.high
        ),
    };
    Some(Ratio {
        what: what.to_owned(),
        a: text(geometric_mean(&of_a)),
        b: text(geometric_mean(&of_b)),
        ratio: interval.ratio,
        low: interval.low,
        high: interval.high,
        verdict,
    })
}

fn subtitle(report: &CompareReport) -> String {
    let pace = report
        .demanded_rate
        .map_or_else(|| "closed loop".to_owned(), |rate| format!("{} messages/s", grouped(rate)));
    format!(
        "A is {} ({}), B is {} ({}): {} connections, {} bytes, {pace}, {} rounds",
        report.names[0],
        report.urls[0],
        report.names[1],
        report.urls[1],
        report.connections,
        report.payload_bytes,
        report.rounds.len()
    )
}

fn table(names: &[String; 2], rounds: &[[Round; 2]]) -> Table {
    let columns =
        ["server", "round"].into_iter().chain(MEASURES.iter().map(|measure| measure.what));
    let cells = |name: &String, number: usize, round: &Round| {
        let mut cells = vec![name.clone(), number.to_string()];
        for (value, measure) in round.values().into_iter().zip(&MEASURES) {
            cells.push(value.map_or_else(|| "-".to_owned(), measure.text));
        }
        cells
    };
    let rows = rounds.iter().enumerate().flat_map(|(index, pair)| {
        names.iter().zip(pair).map(move |(name, round)| cells(name, index + 1, round))
    });
    Table {
        title: "Rounds".to_owned(),
        columns: columns.map(str::to_owned).collect(),
        rows: rows.collect(),
    }
}

fn text(report: &CompareReport, table: &Table) -> String {
    let mut text = format!("{}\n\n", subtitle(report));
    text += &table_text(&table.columns, &table.rows);
    text.push('\n');
    for ratio in &report.ratios {
        text += &format!(
            "{:<21} {} -> {}   {:.3}x ({:.3} to {:.3})   {}\n",
            ratio.what, ratio.a, ratio.b, ratio.ratio, ratio.low, ratio.high, ratio.verdict
        );
    }
    for (name, errors) in report.names.iter().zip(&report.errors) {
        for errors in errors {
            text += &format!("WRONG     {name}: {}\n", errors.text());
        }
    }
    if let Some(stopped) = &report.stopped {
        text += &format!("WRONG     the rest could not be run: {stopped}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(rates: &[(f64, f64)]) -> Vec<[Round; 2]> {
        let round = |rate| Round {
            rate_per_second: rate,
            p50_ns: 1e9 / rate,
            p99_ns: 1e9 / rate,
            server_cpu_ns_per_message: None,
        };
        rates.iter().map(|(a, b)| [round(*a), round(*b)]).collect()
    }

    #[test]
    fn more_messages_are_better_and_more_latency_is_worse() {
        let names = ["old".to_owned(), "new".to_owned()];
        let rounds = rounds(&[(100.0, 150.0), (101.0, 150.0), (99.0, 149.0)]);
        let rate = ratio(0, &names, &rounds).unwrap();
        assert!(rate.verdict.starts_with("new has 49.7 % more, which is better"), "{rate:?}");
        let median = ratio(1, &names, &rounds).unwrap();
        assert!(median.verdict.contains("less, which is better"), "{median:?}");
        assert_eq!(ratio(3, &names, &rounds), None, "nobody told the server's CPU time");
    }

    #[test]
    fn noise_is_no_difference() {
        let names = ["a".to_owned(), "b".to_owned()];
        let rounds = rounds(&[(100.0, 110.0), (110.0, 100.0), (105.0, 104.0)]);
        let rate = ratio(0, &names, &rounds).unwrap();
        assert!(rate.verdict.starts_with("no difference is sure"), "{rate:?}");
    }
}
