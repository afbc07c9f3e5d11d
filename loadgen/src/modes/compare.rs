//! Compare: two servers in turns, A B B A, so that a machine that becomes slower does so for both.
//! It tells ratios with the interval that they lie in, and says when there is no difference to see.

use std::sync::Arc;

use serde::Serialize;

use super::trial::{Study, Trial, Tried, option_name};
use crate::cli::{CompareArguments, LoadKind};
use crate::crew::Watched;
use crate::exhibit::{Exhibit, Ratio, Series};
use crate::expect::Figures;
use crate::failure::Failure;
use crate::interrupt;
use crate::latency::Latencies;
use crate::output::{duration_text, grouped};
use crate::report::{Errors, Outcome};
use crate::server_process::ServerProcess;
use crate::statistics::{geometric_mean, ratio_of_pairs};
use crate::table::{Cell, Table};
use crate::target::Target;
use crate::timeline::Point;
use crate::truth;

/// What is compared.
struct Measure {
    /// As people read it, with the unit of the load in place of `#`.
    what: &'static str,
    /// In a column for programs.
    column: &'static str,
    /// What conditions on the ratio, and on the ends of its interval, are about.
    figures: [&'static str; 3],
    text: fn(f64) -> String,
    more_is_better: bool,
}

const MEASURES: [Measure; 4] = [
    Measure {
        what: "## a second",
        column: "received_per_second",
        figures: ["rate-ratio", "rate-ratio-low", "rate-ratio-high"],
        text: grouped,
        more_is_better: true,
    },
    Measure {
        what: "median latency",
        column: "p50_ns",
        figures: ["p50-ratio", "p50-ratio-low", "p50-ratio-high"],
        text: duration_text,
        more_is_better: false,
    },
    Measure {
        what: "p99 latency",
        column: "p99_ns",
        figures: ["p99-ratio", "p99-ratio-low", "p99-ratio-high"],
        text: duration_text,
        more_is_better: false,
    },
    Measure {
        what: "server CPU a #",
        column: "server_cpu_ns",
        figures: ["cpu-ratio", "cpu-ratio-low", "cpu-ratio-high"],
        text: duration_text,
        more_is_better: false,
    },
];

impl Measure {
    fn named(&self, load: LoadKind) -> String {
        self.what.replace("##", load.units()).replace('#', load.unit())
    }
}

/// What conditions may be about besides faults.
pub(crate) fn ratio_figures() -> impl Iterator<Item = &'static str> {
    MEASURES.into_iter().flat_map(|measure| measure.figures)
}

/// The JSON form.
#[derive(Debug, Serialize)]
struct CompareReport {
    mode: &'static str,
    load: String,
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
    /// For each message, or delivery.
    server_cpu_ns: Option<f64>,
}

impl Round {
    fn new(tried: &Tried) -> Self {
        let latency = &tried.recorded.readings.latency;
        let (server, _) = tried.costs();
        Self {
            rate_per_second: tried.window.rate(),
            p50_ns: latency.quantile_ns(0.5) as f64,
            p99_ns: latency.quantile_ns(0.99) as f64,
            server_cpu_ns: server.map(|server| server.cost.ns()),
        }
    }

    /// In the order of the measures.
    fn values(&self) -> [Option<f64>; 4] {
        let (rate, p50, p99) = (self.rate_per_second, self.p50_ns, self.p99_ns);
        [Some(rate), Some(p50), Some(p99), self.server_cpu_ns]
    }
}

/// One of the two.
struct Side {
    target: Arc<Target>,
    server: Watched,
    name: String,
    latency: Latencies,
    timeline: Vec<Point>,
    errors: Vec<Errors>,
    /// Of each run.
    figures: Vec<Figures>,
    warnings: Vec<(String, String)>,
}

impl Side {
    fn new(target: Target, server: Watched, name: &str) -> Self {
        Self {
            target: Arc::new(target),
            server,
            name: name.to_owned(),
            latency: Latencies::default(),
            timeline: Vec::new(),
            errors: Vec::new(),
            figures: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn run(&mut self, arguments: &CompareArguments, round: u32) -> Result<Round, Failure> {
        let study = Study {
            load: arguments.load,
            fanout: &arguments.fanout,
            server: &arguments.server,
            message: &arguments.message,
            engine: &arguments.engine,
            opening: &arguments.opening,
        };
        let tried = study.run(Trial {
            target: Arc::clone(&self.target),
            connections: arguments.connections,
            payload: arguments.payload,
            pace: arguments.rate.pace(),
            pipeline: arguments.pipeline,
            warmup: arguments.seconds_per_run / 4,
            duration: arguments.seconds_per_run,
            server: self.server,
            label: format!("compare, round {} of {}, {}", round + 1, arguments.rounds, self.name),
        })?;
        let result = Round::new(&tried);
        self.latency.merge(&tried.recorded.readings.latency);
        let offset = f64::from(round) * arguments.seconds_per_run.as_secs_f64();
        let moved = |point: &Point| Point { at: point.at + offset, ..*point };
        self.timeline.extend(tried.recorded.timeline.iter().map(moved));
        self.figures.push(Figures::default().with_errors(&tried.errors));
        if !tried.errors.is_empty() {
            self.errors.push(tried.errors);
        }
        for warning in tried.doubts.warnings {
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
    let watched_b = Watched { process: pid_b, ..server.watched() };
    let mut a = Side::new(server.target()?, server.watched(), &arguments.name_a);
    let mut b = Side::new(target, watched_b, &arguments.name_b);
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
    let load = arguments.load;
    let names = [sides[0].name.clone(), sides[1].name.clone()];
    let ratios: Vec<Ratio> =
        (0..MEASURES.len()).filter_map(|measure| ratio(measure, load, &names, &rounds)).collect();
    let table = table(load, &names, &rounds);
    let [a, b] = sides;
    let sound = a.errors.is_empty() && b.errors.is_empty();
    let figures = figures([&a.figures[..], &b.figures].concat(), load, &ratios);
    let warnings = truth::condensed([a.warnings, b.warnings].concat());
    let report = CompareReport {
        mode: "compare",
        load: option_name(load),
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
        rows_are_the_result: true,
        ..Exhibit::default()
    };
    Outcome::new(&report, text, sound)
        .whole_if(report.stopped.is_none())
        .with_figures(figures)
        .showing(exhibit)
        .warning(warnings)
}

/// What conditions are held against: the faults of all runs, and the ratios with their intervals.
fn figures(runs: Vec<Figures>, load: LoadKind, ratios: &[Ratio]) -> Figures {
    let faults = Figures::worst_of(runs.into_iter());
    MEASURES.iter().fold(faults, |figures, measure| {
        match ratios.iter().find(|ratio| ratio.what == measure.named(load)) {
            Some(ratio) => measure
                .figures
                .into_iter()
                .zip([ratio.ratio, ratio.low, ratio.high])
                .fold(figures, |figures, (name, value)| figures.with(name, value)),
            None => figures,
        }
    })
}

/// The ratio of one measure, if both sides told it.
fn ratio(
    measure: usize,
    load: LoadKind,
    names: &[String; 2],
    rounds: &[[Round; 2]],
) -> Option<Ratio> {
    let Measure { text, more_is_better, .. } = MEASURES[measure];
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
        what: MEASURES[measure].named(load),
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

fn table(load: LoadKind, names: &[String; 2], rounds: &[[Round; 2]]) -> Table {
    let measures: Vec<_> =
        MEASURES.iter().map(|measure| (measure.named(load), measure.column)).collect();
    let named = measures.iter().map(|(shown, column)| (shown.as_str(), *column));
    let columns: Vec<_> =
        [("server", "server"), ("round", "round")].into_iter().chain(named).collect();
    let cells = |name: &String, number: usize, round: &Round| {
        let mut cells = vec![Cell::text(name), Cell::count(number as f64)];
        for (value, measure) in round.values().into_iter().zip(&MEASURES) {
            let told = |value| Cell::number((measure.text)(value), value);
            cells.push(value.map_or_else(Cell::none, told));
        }
        cells
    };
    let rows = rounds.iter().enumerate().flat_map(|(index, pair)| {
        names.iter().zip(pair).map(move |(name, round)| cells(name, index + 1, round))
    });
    Table::new("Rounds", &columns, rows.collect())
}

fn text(report: &CompareReport, table: &Table) -> String {
    let mut text = format!("{}\n\n", subtitle(report));
    text += &table.text();
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
            server_cpu_ns: None,
        };
        rates.iter().map(|(a, b)| [round(*a), round(*b)]).collect()
    }

    #[test]
    fn more_messages_are_better_and_more_latency_is_worse() {
        let names = ["old".to_owned(), "new".to_owned()];
        let rounds = rounds(&[(100.0, 150.0), (101.0, 150.0), (99.0, 149.0)]);
        let rate = ratio(0, LoadKind::Echo, &names, &rounds).unwrap();
        assert!(rate.verdict.starts_with("new has 49.7 % more, which is better"), "{rate:?}");
        let median = ratio(1, LoadKind::Echo, &names, &rounds).unwrap();
        assert!(median.verdict.contains("less, which is better"), "{median:?}");
        assert_eq!(
            ratio(3, LoadKind::Echo, &names, &rounds),
            None,
            "nobody told the server's CPU time"
        );
    }

    #[test]
    fn noise_is_no_difference() {
        let names = ["a".to_owned(), "b".to_owned()];
        let rounds = rounds(&[(100.0, 110.0), (110.0, 100.0), (105.0, 104.0)]);
        let rate = ratio(0, LoadKind::Echo, &names, &rounds).unwrap();
        assert!(rate.verdict.starts_with("no difference is sure"), "{rate:?}");
    }
}
