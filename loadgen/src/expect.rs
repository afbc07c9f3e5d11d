//! What a result is expected to be: conditions such as `p99<5ms,loss=0`, and the figures of a run
//! that they are held against. It measures nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::latency::LatencySummary;
use crate::output::{duration_text, grouped};
use crate::report::{CallCost, Errors, ServerUse};

/// What a figure is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dimension {
    Nanoseconds,
    Count,
    Bytes,
    Share,
    /// With a fraction.
    Number,
}

/// Every figure that can be asked for.
const FIGURES: &[(&str, Dimension)] = &[
    ("mean", Dimension::Nanoseconds),
    ("p50", Dimension::Nanoseconds),
    ("p90", Dimension::Nanoseconds),
    ("p99", Dimension::Nanoseconds),
    ("p99.9", Dimension::Nanoseconds),
    ("p99.99", Dimension::Nanoseconds),
    ("max", Dimension::Nanoseconds),
    ("lag", Dimension::Nanoseconds),
    ("completion", Dimension::Nanoseconds),
    ("ping", Dimension::Nanoseconds),
    ("cpu", Dimension::Nanoseconds),
    ("syscalls-per-message", Dimension::Number),
    ("syscalls-per-delivery", Dimension::Number),
    ("syscalls-per-cycle", Dimension::Number),
    ("syscalls-per-connection", Dimension::Number),
    ("rate", Dimension::Count),
    ("reach", Dimension::Share),
    ("connections", Dimension::Count),
    ("loss", Dimension::Count),
    ("duplicates", Dimension::Count),
    ("reordered", Dimension::Count),
    ("wrong", Dimension::Count),
    ("unsent", Dimension::Count),
    ("lost-connections", Dimension::Count),
    ("unopened", Dimension::Count),
    ("rate-ratio", Dimension::Share),
    ("rate-ratio-low", Dimension::Share),
    ("rate-ratio-high", Dimension::Share),
    ("p50-ratio", Dimension::Share),
    ("p50-ratio-low", Dimension::Share),
    ("p50-ratio-high", Dimension::Share),
    ("p99-ratio", Dimension::Share),
    ("p99-ratio-low", Dimension::Share),
    ("p99-ratio-high", Dimension::Share),
    ("cpu-ratio", Dimension::Share),
    ("cpu-ratio-low", Dimension::Share),
    ("cpu-ratio-high", Dimension::Share),
    ("rss", Dimension::Bytes),
    ("bytes-per-connection", Dimension::Bytes),
];

/// Figures of latency, and of the server's process.
pub(crate) const LATENCY: [&str; 7] = ["mean", "p50", "p90", "p99", "p99.9", "p99.99", "max"];
pub(crate) const SERVER: [&str; 2] = ["cpu", "rss"];
/// Figures that count what went wrong.
pub(crate) const FAULTS: [&str; 7] =
    ["loss", "wrong", "duplicates", "reordered", "unsent", "lost-connections", "unopened"];
/// Quantiles, and the share of latencies that lies beyond each.
const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.1), ("p99", 0.01), ("p99.9", 0.001), ("p99.99", 0.0001)];
/// Latencies beyond a quantile from which on it is more than the luck of a few.
const BEYOND_MIN: f64 = 10.0;

/// The figures of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    values: BTreeMap<&'static str, f64>,
    /// How many latencies the quantiles are of.
    latencies: u64,
}

/// Which of several is the worst.
enum Worst {
    Most,
    Least,
    Sum,
}

fn worst(figure: &str) -> Worst {
    match figure {
        "rate" | "reach" | "connections" => Worst::Least,
        fault if FAULTS.contains(&fault) => Worst::Sum,
        _ => Worst::Most,
    }
}

impl Figures {
    /// With one more. Durations are in nanoseconds.
    pub(crate) fn with(mut self, name: &'static str, value: f64) -> Self {
        debug_assert!(FIGURES.iter().any(|(known, _)| *known == name), "{name} can be asked for");
        self.values.insert(name, value);
        self
    }

    /// The worst that any of several runs tells: of faults all together, of rates and reach the least,
    /// of everything else the most. What one of them does not tell none does.
    pub(crate) fn worst_of(runs: impl Iterator<Item = Self>) -> Self {
        let worse = |mut all: Self, run: Self| {
            all.values.retain(|name, _| run.values.contains_key(name));
            for (name, value) in &mut all.values {
                let other = run.values[name];
                *value = match worst(name) {
                    Worst::Sum => *value + other,
                    Worst::Least => value.min(other),
                    Worst::Most => value.max(other),
                };
            }
            all.latencies = all.latencies.min(run.latencies);
            all
        };
        runs.reduce(worse).unwrap_or_default()
    }

    /// With the quantiles of latency.
    pub(crate) fn with_latency(mut self, latency: &LatencySummary) -> Self {
        let us = 1000.0;
        self.latencies = latency.count;
        self.with("mean", latency.mean * us)
            .with("p50", latency.p50 * us)
            .with("p90", latency.p90 * us)
            .with("p99", latency.p99 * us)
            .with("p99.9", latency.p999 * us)
            .with("p99.99", latency.p9999 * us)
            .with("max", latency.max * us)
    }

    /// With what went wrong.
    pub(crate) fn with_errors(self, errors: &Errors) -> Self {
        self.with("loss", errors.lost_messages as f64)
            .with("duplicates", errors.duplicated_messages as f64)
            .with("reordered", errors.reordered_messages as f64)
            .with("wrong", errors.wrong_messages as f64)
            .with("unsent", errors.unsent_messages as f64)
            .with("lost-connections", errors.lost_connections as f64)
            .with("unopened", errors.unopened_connections as f64)
    }

    /// With what the server used, if that is known.
    pub(crate) fn with_server(self, server: Option<&ServerUse>) -> Self {
        match server {
            Some(server) => {
                let told = self.with("cpu", server.cost.ns()).with("rss", server.rss_bytes as f64);
                told.with_calls(server.call_cost)
            }
            None => self,
        }
    }

    /// With the server's system calls, where they were counted.
    pub(crate) fn with_calls(self, cost: Option<CallCost>) -> Self {
        let figure = cost.map(CallCost::figure);
        figure.map_or(self.clone(), |(name, calls)| self.with(name, calls))
    }

    /// A figure.
    pub(crate) fn get(&self, name: &str) -> Option<f64> {
        self.values.get(name).copied()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    Less,
    LessOrEqual,
    Equal,
    MoreOrEqual,
    More,
}

/// How relations are written; those that begin with another one come first.
const RELATIONS: &[(&str, Relation)] = &[
    ("<=", Relation::LessOrEqual),
    (">=", Relation::MoreOrEqual),
    ("<", Relation::Less),
    (">", Relation::More),
    ("=", Relation::Equal),
];

/// One condition.
#[derive(Clone, Debug, PartialEq)]
struct Condition {
    text: String,
    figure: &'static str,
    dimension: Dimension,
    relation: Relation,
    bound: f64,
}

/// All conditions of an option.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Expectation(Vec<Condition>);

impl Expectation {
    /// The conditions that do not hold, in words.
    pub(crate) fn missed(&self, figures: &Figures) -> Vec<String> {
        self.0.iter().filter_map(|condition| condition.missed(figures)).collect()
    }

    /// What is asked about quantiles that too few latencies tell of, in words.
    pub(crate) fn doubts(&self, figures: &Figures) -> Vec<String> {
        let thin = QUANTILES.iter().filter_map(|(name, share)| {
            let beyond = share * figures.latencies as f64;
            let asked = self.names(name) && figures.get(name).is_some();
            (asked && beyond < BEYOND_MIN).then(|| {
                format!(
                    "{name} is asked of {} latencies: {beyond:.1} of them lie beyond it, which says \
                     little; measure longer",
                    grouped(figures.latencies as f64)
                )
            })
        });
        thin.collect()
    }

    /// The figures that conditions are about.
    pub(crate) fn figures(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|condition| condition.figure)
    }

    /// Whether a condition is about this figure: it then decides, and no rule of our own.
    pub(crate) fn names(&self, figure: &str) -> bool {
        self.0.iter().any(|condition| condition.figure == figure)
    }
}

impl Condition {
    fn missed(&self, figures: &Figures) -> Option<String> {
        let Some(value) = figures.get(self.figure) else {
            return Some(format!("{}: this run does not tell {}", self.text, self.figure));
        };
        let holds = match self.relation {
            Relation::Less => value < self.bound,
            Relation::LessOrEqual => value <= self.bound,
            Relation::Equal => (value - self.bound).abs() < f64::EPSILON * value.abs().max(1.0),
            Relation::MoreOrEqual => value >= self.bound,
            Relation::More => value > self.bound,
        };
        let shown = match self.dimension {
            Dimension::Nanoseconds => duration_text(value),
            Dimension::Count => grouped(value),
            Dimension::Bytes => format!("{} bytes", grouped(value)),
            Dimension::Share => format!("{value:.6}"),
            Dimension::Number => format!("{value:.3}"),
        };
        (!holds).then(|| format!("{}: it was {shown}", self.text))
    }
}

impl FromStr for Condition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = RELATIONS.iter().find_map(|(sign, relation)| {
            text.split_once(sign).map(|(name, bound)| (name.trim(), *relation, bound.trim()))
        });
        let (name, relation, bound) =
            found.ok_or_else(|| format!("{text:?} is no condition such as p99<5ms"))?;
        let known = FIGURES.iter().find(|(known, _)| *known == name);
        let (figure, dimension) = *known.ok_or_else(|| {
            let names: Vec<&str> = FIGURES.iter().map(|(name, _)| *name).collect();
            format!("nothing is called {name:?}; there are {}", names.join(", "))
        })?;
        let bound = value(bound, dimension).ok_or_else(|| {
            format!(
                "{bound:?} is no {}",
                match dimension {
                    Dimension::Nanoseconds => "time such as 5ms, 250us or 1s",
                    Dimension::Count => "number such as 0, 1500 or 20k",
                    Dimension::Bytes => "size such as 4096, 10KiB or 2MiB",
                    Dimension::Share => "share such as 1, 0.999 or 99.9%",
                    Dimension::Number => "number such as 2 or 0.05",
                }
            )
        })?;
        Ok(Self { text: text.to_owned(), figure, dimension, relation, bound })
    }
}

/// A number with the unit of its dimension.
fn value(text: &str, dimension: Dimension) -> Option<f64> {
    let units: &[(&str, f64)] = match dimension {
        Dimension::Nanoseconds => &[("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)],
        Dimension::Share => &[("%", 0.01), ("", 1.0)],
        Dimension::Number => &[("", 1.0)],
        Dimension::Count => &[("k", 1e3), ("M", 1e6), ("", 1.0)],
        Dimension::Bytes => {
            &[("KiB", 1024.0), ("MiB", 1048576.0), ("GiB", 1073741824.0), ("", 1.0)]
        }
    };
    let number = |(unit, factor): &(&str, f64)| {
        let number: f64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
        (number.is_finite() && number >= 0.0).then_some(number * factor)
    };
    units.iter().find_map(number)
}

impl FromStr for Expectation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',')
            .map(|condition| condition.trim().parse())
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<&str> = self.0.iter().map(|condition| condition.text.as_str()).collect();
        formatter.write_str(&texts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missed(conditions: &str) -> Vec<String> {
        let figures =
            Figures::default().with("p99", 4_200_000.0).with("loss", 3.0).with("rate", 1e5);
        let figures = figures.with("reach", 0.9992).with("syscalls-per-message", 0.125);
        conditions.parse::<Expectation>().unwrap().missed(&figures)
    }

    #[test]
    fn conditions_hold_or_say_what_it_was() {
        for holds in ["p99<5ms", "p99 <= 4200us", "loss=3,p99>1ms", "rate>=100k", "rate<0.2M"] {
            assert_eq!(missed(holds), Vec::<String>::new(), "{holds}");
        }
        assert_eq!(missed("p99<4ms,loss=0"), ["p99<4ms: it was 4.20 ms", "loss=0: it was 3"]);
        assert_eq!(missed("reach>=99.9%,reach>0.9995"), ["reach>0.9995: it was 0.999200"]);
        let calls = "syscalls-per-message";
        assert_eq!(missed(&format!("{calls}<0.1")), [format!("{calls}<0.1: it was 0.125")]);
        assert_eq!(missed("p50<4ms"), ["p50<4ms: this run does not tell p50"]);
    }

    #[test]
    fn quantiles_of_few_latencies_are_doubted() {
        let figures = |count| {
            let latency = LatencySummary { count, ..LatencySummary::default() };
            Figures::default().with_latency(&latency)
        };
        let expectation: Expectation = "p99.9<5ms,p50<1ms,max<9ms".parse().unwrap();
        let doubts = expectation.doubts(&figures(300));
        assert_eq!(doubts.len(), 1);
        assert!(
            doubts[0].starts_with("p99.9 is asked of 300 latencies: 0.3 of them"),
            "{doubts:?}"
        );
        assert!(expectation.doubts(&figures(10_000)).is_empty());
        assert_eq!(expectation.doubts(&figures(10)).len(), 2);
    }

    #[test]
    fn the_worst_of_several_runs_decides() {
        let run = |p99: f64, rate: f64, loss: f64| {
            Figures::default().with("p99", p99).with("rate", rate).with("loss", loss)
        };
        let runs = [run(5.0, 100.0, 1.0).with("lag", 1.0), run(4.0, 90.0, 2.0)];
        let worst = Figures::worst_of(runs.into_iter());
        let told = ["p99", "rate", "loss", "lag"].map(|name| worst.get(name));
        assert_eq!(told, [Some(5.0), Some(90.0), Some(3.0), None]);
    }

    #[test]
    fn what_is_no_condition_is_refused_with_what_there_is() {
        for (text, words) in [
            ("p99", "no condition"),
            ("p98<1ms", "there are mean, p50"),
            ("p99<5", "no time such as"),
            ("loss=x", "no number such as"),
            ("loss=-1", "no number such as"),
            ("", "no condition"),
        ] {
            let error = text.parse::<Expectation>().unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn it_is_shown_as_it_was_written_and_knows_what_it_is_about() {
        let expectation: Expectation = "p99<5ms, loss=0".parse().unwrap();
        assert_eq!(expectation.to_string(), "p99<5ms,loss=0");
        assert!(expectation.names("loss") && !expectation.names("max"));
    }
}
