//! Search: the highest rate, or number of connections, at which the conditions still hold. It
//! doubles until they do not, then halves the interval. Each value is decided by two of at most three
//! tries, so that one hiccup of the machine decides nothing, and one lucky try neither.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::echo_run::{EchoWork, Span};
use super::fanout_run::{self, FanoutSetup};
use crate::cli::{LoadKind, Raised, SearchArguments};
use crate::exhibit::{Card, Curve, CurveLine, Exhibit, Table};
use crate::expect::Figures;
use crate::failure::Failure;
use crate::interrupt;
use crate::latency::LatencySummary;
use crate::loads::Pace;
use crate::output::{duration_text, grouped, table_text};
use crate::report::{Errors, Outcome};
use crate::schedule::Arrivals;
use crate::target::Target;
use crate::usage::Window;
use crate::watch::{Recorded, Watch};

/// Tries with the same outcome that decide.
const VOTES: usize = 2;
/// Share of a demanded rate that must have been sent for a step to count.
const SENT_MIN: f64 = 0.98;
/// Messages that may fall to either side of where a step begins and ends.
const AT_THE_EDGES: f64 = 2.0;
/// Messages a second with which a search for a rate begins.
const FIRST_RATE: f64 = 100.0;
/// Connections with which a search for connections begins.
const FIRST_CONNECTIONS: f64 = 16.0;
/// Messages a second of a fan-out while connections are raised, if no other rate is given.
const FANOUT_RATE: f64 = 10.0;

/// The JSON form.
#[derive(Debug, Serialize)]
struct SearchReport {
    mode: &'static str,
    url: String,
    load: String,
    raised: String,
    slo: String,
    interrupted: bool,
    /// The highest value at which the conditions held; 0 if they never did.
    best: f64,
    /// The lowest at which they did not, unless the search ended before.
    failed_at: Option<f64>,
    /// The load generator was the limit, so the server may hold more.
    client_limited: bool,
    steps: Vec<Step>,
}

/// One try.
#[derive(Debug, Serialize)]
struct Step {
    value: f64,
    holds: bool,
    /// What did not hold.
    missed: Vec<String>,
    rate_per_second: f64,
    latency_us: LatencySummary,
    errors: Errors,
    warnings: Vec<String>,
}

impl Step {
    /// One that could not be made, after others could.
    fn failed(value: f64, failure: &Failure) -> Self {
        Self {
            value,
            holds: false,
            missed: vec![failure.to_string()],
            rate_per_second: 0.0,
            latency_us: LatencySummary::default(),
            errors: Errors::default(),
            warnings: Vec::new(),
        }
    }
}

/// What a step measured, whatever the load was.
struct Measured {
    window: Window,
    recorded: Recorded,
    errors: Errors,
    warnings: Vec<String>,
}

struct Search<'a> {
    arguments: &'a SearchArguments,
    target: Arc<Target>,
    steps: Vec<Step>,
}

/// Runs the mode.
pub(crate) fn run(arguments: &SearchArguments) -> Result<Outcome, Failure> {
    let target = Arc::new(arguments.server.target()?);
    let mut search = Search { arguments, target, steps: Vec::new() };
    let first = match arguments.raise {
        Raised::Rate => FIRST_RATE,
        Raised::Connections => FIRST_CONNECTIONS,
    };
    let (best, failed_at) = search.find(arguments.from.unwrap_or(first))?;
    Ok(search.outcome(best, failed_at))
}

impl Search<'_> {
    /// The highest value that holds and the lowest that does not.
    fn find(&mut self, first: f64) -> Result<(f64, Option<f64>), Failure> {
        let (mut best, mut failed_at) = (0.0, None);
        let mut value = self.rounded(first.min(self.arguments.to));
        loop {
            let holds = self.holds(value)?;
            if interrupt::is_interrupted() {
                return Ok((best, failed_at));
            }
            if holds {
                best = value
            } else {
                failed_at = Some(value)
            }
            let next = self.rounded(next_value(best, failed_at).min(self.arguments.to));
            let close =
                failed_at.is_some_and(|high| high <= best * (1.0 + self.arguments.precision));
            // Rounding may leave nothing between the two.
            let tried = next <= best || failed_at.is_some_and(|high| next >= high);
            if close || tried || next < 1.0 {
                return Ok((best, failed_at));
            }
            value = next;
        }
    }

    fn rounded(&self, value: f64) -> f64 {
        match self.arguments.raise {
            Raised::Connections => value.round(),
            Raised::Rate if value >= 1000.0 => (value / 10.0).round() * 10.0,
            Raised::Rate => value.round(),
        }
    }

    /// Whether a value holds in two of at most three tries.
    fn holds(&mut self, value: f64) -> Result<bool, Failure> {
        let (mut held, mut missed) = (0, 0);
        while held < VOTES && missed < VOTES && !interrupt::is_interrupted() {
            let step = match self.step(value) {
                Err(failure) if !self.steps.is_empty() => Step::failed(value, &failure),
                step => step?,
            };
            *if step.holds { &mut held } else { &mut missed } += 1;
            self.steps.push(step);
        }
        Ok(held == VOTES)
    }

    fn step(&self, value: f64) -> Result<Step, Failure> {
        let (rate, connections) = match self.arguments.raise {
            Raised::Rate => (Some(value), self.arguments.connections),
            Raised::Connections => (self.arguments.rate, value as usize),
        };
        let measured = match self.arguments.load {
            LoadKind::Echo => self.echo(rate, connections)?,
            LoadKind::Fanout => self.fanout(rate, connections)?,
        };
        let latency_us = measured.recorded.readings.latency.summary();
        let figures = Figures::default()
            .with_latency(&latency_us)
            .with_errors(&measured.errors)
            .with("rate", measured.window.rate());
        let mut missed = self.arguments.slo.missed(&figures);
        if interrupt::is_interrupted() {
            missed.push("it was interrupted".to_owned());
        }
        if latency_us.count == 0 {
            missed.push("nothing came back in time to be measured".to_owned());
        }
        if !measured.errors.is_empty() {
            missed.push(measured.errors.text());
        }
        let seconds = measured.window.seconds.max(1e-9);
        let sent = measured.window.sent as f64 / seconds;
        if let (Some(rate), LoadKind::Echo) = (rate, self.arguments.load)
            && sent + AT_THE_EDGES / seconds < rate * SENT_MIN
        {
            missed.push(format!("only {} messages/s were sent", grouped(sent)));
        }
        Ok(Step {
            value,
            holds: missed.is_empty(),
            missed,
            rate_per_second: measured.window.rate(),
            latency_us,
            errors: measured.errors,
            warnings: measured.warnings,
        })
    }

    fn watch(&self, value: &str) -> Watch {
        Watch::new(format!("search, {value}"), self.arguments.server.server_pid)
    }

    fn echo(&self, rate: Option<f64>, connections: usize) -> Result<Measured, Failure> {
        let arguments = self.arguments;
        let work = EchoWork {
            target: Arc::clone(&self.target),
            connections,
            content: arguments.message.content(arguments.payload, &arguments.server)?,
            pipeline: None,
            pace: rate.map(|rate| Pace::Rate(rate, Arrivals::Constant)),
            messages: None,
        };
        let span = Span {
            duration: arguments.seconds_per_step,
            warmup: arguments.seconds_per_step / 5,
            hold: Duration::ZERO,
            server_pid: arguments.server.server_pid,
        };
        let watch = self.watch(&step_name(rate, connections));
        let measured = work.run(&arguments.engine, span, watch)?;
        let (window, recorded) = (measured.window, measured.recorded);
        Ok(Measured { window, recorded, errors: measured.errors, warnings: measured.warnings })
    }

    fn fanout(&self, rate: Option<f64>, connections: usize) -> Result<Measured, Failure> {
        let arguments = self.arguments;
        let rate = rate.unwrap_or(FANOUT_RATE);
        let setup = FanoutSetup {
            target: Arc::clone(&self.target),
            connections,
            publishers: 1,
            content: arguments.message.content(arguments.payload, &arguments.server)?,
            pipeline: 1,
            rate: Some((rate, Arrivals::Constant)),
            reaches_self: true,
            join: None,
        };
        let span = (arguments.seconds_per_step / 5, arguments.seconds_per_step);
        let server_pid = arguments.server.server_pid;
        let watch = self.watch(&step_name(Some(rate), connections));
        let engine = &arguments.engine;
        let measured = fanout_run::run(setup.plan()?, engine, span, server_pid, watch)?;
        let (window, recorded) = (measured.window, measured.recorded);
        Ok(Measured { window, recorded, errors: measured.errors, warnings: measured.warnings })
    }

    fn outcome(self, best: f64, failed_at: Option<f64>) -> Outcome {
        let limited = |step: &Step| {
            !step.holds && step.warnings.iter().any(|warning| warning.contains("bottleneck"))
        };
        let report = SearchReport {
            mode: "search",
            url: self.target.url(),
            load: option_name(self.arguments.load),
            raised: option_name(self.arguments.raise),
            slo: self.arguments.slo.to_string(),
            interrupted: interrupt::is_interrupted(),
            best,
            failed_at,
            client_limited: self.steps.iter().any(limited),
            steps: self.steps,
        };
        let unit = match self.arguments.raise {
            Raised::Rate => "messages/s",
            Raised::Connections => "connections",
        };
        let table = table(&report, unit);
        let exhibit = Exhibit {
            title: "Search".to_owned(),
            subtitle: format!("{}: the most {unit} with {}", report.url, report.slo),
            cards: cards(&report, unit),
            curves: vec![curve(&report, unit)],
            tables: vec![table],
            ..Exhibit::default()
        };
        let mut warnings = Vec::new();
        if report.client_limited {
            warnings.push(
                "the load generator was the bottleneck where the conditions no longer held: the \
                 server may hold more; give it more cores with --cores"
                    .to_owned(),
            );
        }
        let text = text(&report, unit, &exhibit.tables[0]);
        let figures = Figures::default().with(figure_of(self.arguments.raise), best);
        Outcome::new(&report, text, best > 0.0)
            .with_figures(figures)
            .showing(exhibit)
            .warning(warnings)
    }
}

/// What is tried next: twice as much while everything holds, less while nothing does, and then the
/// geometric middle.
fn next_value(best: f64, failed_at: Option<f64>) -> f64 {
    match failed_at {
        None => best * 2.0,
        Some(high) if best > 0.0 => (best * high).sqrt(),
        Some(high) => high / 4.0,
    }
}

/// What conditions call the result.
fn figure_of(raised: Raised) -> &'static str {
    match raised {
        Raised::Rate => "rate",
        Raised::Connections => "connections",
    }
}

/// A value as the command line calls it.
fn option_name(value: impl clap::ValueEnum) -> String {
    value.to_possible_value().map(|name| name.get_name().to_owned()).unwrap_or_default()
}

fn step_name(rate: Option<f64>, connections: usize) -> String {
    match rate {
        Some(rate) => format!("{} messages/s, {connections} connections", grouped(rate)),
        None => format!("{connections} connections"),
    }
}

fn cards(report: &SearchReport, unit: &str) -> Vec<Card> {
    let note = match report.failed_at {
        Some(value) => format!("{unit}; no longer at {}", grouped(value)),
        None => format!("{unit}; it held to the end"),
    };
    let best = report.steps.iter().rfind(|step| step.holds);
    let mut cards = vec![Card::new("Holds up to", grouped(report.best), note)];
    if let Some(best) = best {
        let us = |us: f64| duration_text(us * 1000.0);
        cards.push(Card::new("p50 there", us(best.latency_us.p50), ""));
        cards.push(Card::new("p99 there", us(best.latency_us.p99), ""));
    }
    cards.push(Card::new("Steps", report.steps.len().to_string(), ""));
    cards
}

/// The better try of each value, in their order.
fn curve(report: &SearchReport, unit: &str) -> Curve {
    let mut steps: Vec<&Step> =
        report.steps.iter().filter(|step| step.latency_us.count > 0).collect();
    steps.sort_by(|a, b| {
        a.value.total_cmp(&b.value).then(a.latency_us.p99.total_cmp(&b.latency_us.p99))
    });
    steps.dedup_by(|later, earlier| (later.value - earlier.value).abs() < f64::EPSILON);
    let line = |name: &str, us: fn(&LatencySummary) -> f64| CurveLine {
        name: name.to_owned(),
        points: steps.iter().map(|step| (step.value, us(&step.latency_us))).collect(),
    };
    Curve {
        title: "Latency as it was raised".to_owned(),
        unit: unit.to_owned(),
        lines: vec![
            line("p50", |all| all.p50),
            line("p99", |all| all.p99),
            line("longest", |all| all.max),
        ],
    }
}

fn table(report: &SearchReport, unit: &str) -> Table {
    let us = |us: f64| duration_text(us * 1000.0);
    let cells = |step: &Step| {
        vec![
            grouped(step.value),
            grouped(step.rate_per_second),
            us(step.latency_us.p50),
            us(step.latency_us.p99),
            us(step.latency_us.max),
            if step.holds { "holds".to_owned() } else { step.missed.join("; ") },
        ]
    };
    let columns = [unit, "received/s", "p50", "p99", "max", "verdict"];
    Table {
        title: "Steps".to_owned(),
        columns: columns.map(str::to_owned).to_vec(),
        rows: report.steps.iter().map(cells).collect(),
    }
}

fn text(report: &SearchReport, unit: &str, table: &Table) -> String {
    let mut text = format!("{}: search, the most {unit} with {}\n\n", report.url, report.slo);
    text += &table_text(&table.columns, &table.rows);
    let end = match report.failed_at {
        Some(value) => format!("no longer at {}", grouped(value)),
        None => "and the search ended there".to_owned(),
    };
    text += &match report.best > 0.0 {
        true => format!("\nholds     up to {} {unit}, {end}\n", grouped(report.best)),
        false => format!("\nholds     never, {end}\n"),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_closed_in_from_both_sides() {
        for limit in [3.0, 100.0, 77_777.0] {
            let (mut best, mut failed_at) = (0.0, None);
            let mut value: f64 = 100.0;
            for _ in 0..40 {
                if value <= limit {
                    best = value
                } else {
                    failed_at = Some(value)
                }
                value = next_value(best, failed_at);
            }
            let failed_at = failed_at.unwrap();
            assert!(best <= limit && limit < failed_at, "{best} {limit} {failed_at}");
            assert!(failed_at / best < 1.01, "{best} {limit} {failed_at}");
        }
    }
}
