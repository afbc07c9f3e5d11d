//! Search: the highest rate, or number of connections, at which the conditions still hold. It
//! doubles until they do not, then halves the interval. Each value is decided by two of at most three
//! tries, so that one hiccup of the machine decides nothing, and one lucky try neither.

use std::sync::Arc;

use serde::Serialize;

use super::trial::{Study, Trial, option_name};
use crate::cli::{LoadKind, Raised, SearchArguments};
use crate::exhibit::{Card, Curve, CurveLine, Exhibit};
use crate::expect::Figures;
use crate::failure::Failure;
use crate::interrupt;
use crate::latency::LatencySummary;
use crate::loads::Pace;
use crate::output::{duration_text, grouped};
use crate::report::{Errors, Outcome};
use crate::schedule::Arrivals;
use crate::table::{Cell, Table};
use crate::target::Target;

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
    /// The load generator had nothing left to give.
    client_limited: bool,
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
            client_limited: false,
            errors: Errors::default(),
            warnings: Vec::new(),
        }
    }
}

struct Search<'a> {
    study: Study<'a>,
    arguments: &'a SearchArguments,
    target: Arc<Target>,
    steps: Vec<Step>,
}

/// Runs the mode.
pub(crate) fn run(arguments: &SearchArguments) -> Result<Outcome, Failure> {
    let target = Arc::new(arguments.server.target()?);
    let study = Study {
        load: arguments.load,
        fanout: &arguments.fanout,
        server: &arguments.server,
        message: &arguments.message,
        engine: &arguments.engine,
        opening: &arguments.opening,
    };
    let mut search = Search { study, arguments, target, steps: Vec::new() };
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

    /// Messages a second while connections are raised: a fan-out needs some.
    fn rate_of_load(&self) -> Option<f64> {
        match self.arguments.load {
            _ if self.arguments.think.is_some() => None,
            LoadKind::Echo => self.arguments.rate,
            LoadKind::Fanout => self.arguments.rate.or(Some(FANOUT_RATE)),
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
            Raised::Connections => (self.rate_of_load(), value as usize),
        };
        let tried = self.study.run(Trial {
            target: Arc::clone(&self.target),
            connections,
            payload: self.arguments.payload,
            pace: rate
                .map(|rate| Pace::Rate(rate, Arrivals::Constant))
                .or(self.arguments.think.map(Pace::Think)),
            pipeline: None,
            warmup: self.arguments.seconds_per_step / 5,
            duration: self.arguments.seconds_per_step,
            server: self.arguments.server.watched(),
            label: format!("search, {}", step_name(rate, connections)),
        })?;
        let latency_us = tried.latency();
        let mut missed = self.arguments.slo.missed(&tried.figures());
        if interrupt::is_interrupted() {
            missed.push("it was interrupted".to_owned());
        }
        if latency_us.count == 0 {
            missed.push("nothing came back in time to be measured".to_owned());
        }
        if !tried.errors.is_empty() {
            missed.push(tried.errors.text());
        }
        let seconds = tried.window.seconds.max(1e-9);
        let sent = tried.window.sent as f64 / seconds;
        if let Some(rate) = rate
            && sent + AT_THE_EDGES / seconds < rate * SENT_MIN
        {
            missed.push(format!("only {} messages/s were sent", grouped(sent)));
        }
        Ok(Step {
            value,
            holds: missed.is_empty(),
            missed,
            rate_per_second: tried.window.rate(),
            latency_us,
            client_limited: tried.doubts.client_limited,
            errors: tried.errors,
            warnings: tried.doubts.warnings,
        })
    }

    fn outcome(self, best: f64, failed_at: Option<f64>) -> Outcome {
        let limited = |step: &Step| !step.holds && step.client_limited;
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
            rows_are_the_result: true,
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
        Outcome::new(&report, text, true)
            .whole_if(best > 0.0)
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
    let cells = |step: &Step| {
        vec![
            Cell::count(step.value),
            Cell::count(step.rate_per_second),
            Cell::us(step.latency_us.p50),
            Cell::us(step.latency_us.p99),
            Cell::us(step.latency_us.max),
            Cell::text(if step.holds { "holds".to_owned() } else { step.missed.join("; ") }),
        ]
    };
    let columns = [
        (unit, "value"),
        ("received/s", "received_per_second"),
        ("p50", "p50_us"),
        ("p99", "p99_us"),
        ("max", "max_us"),
        ("verdict", "verdict"),
    ];
    Table::new("Steps", &columns, report.steps.iter().map(cells).collect())
}

fn text(report: &SearchReport, unit: &str, table: &Table) -> String {
    let mut text = format!("{}: search, the most {unit} with {}\n\n", report.url, report.slo);
    text += &table.text();
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
