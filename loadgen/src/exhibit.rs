//! A result in the form that pages and tables are made from, the same for all modes. It holds what
//! was measured and renders nothing.

use serde::Serialize;

use crate::latency::Latencies;
use crate::table::Table;
use crate::timeline::Point;
use crate::watch::Recorded;

/// One line of a chart: a run with a name.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) timeline: Vec<Point>,
    pub(crate) latency: Latencies,
    /// Of an open loop: measured from when messages were really sent.
    pub(crate) uncorrected: Option<Latencies>,
}

impl Series {
    /// A run under this name.
    pub(crate) fn new(name: impl Into<String>, recorded: Recorded) -> Self {
        Self {
            name: name.into(),
            timeline: recorded.timeline,
            latency: recorded.readings.latency,
            uncorrected: recorded.readings.uncorrected.map(|latencies| *latencies),
        }
    }
}

/// A figure that is worth a glance.
#[derive(Debug, Serialize)]
pub(crate) struct Card {
    pub(crate) label: String,
    pub(crate) value: String,
    /// A word on it, or nothing.
    pub(crate) note: String,
}

impl Card {
    /// A figure with its label.
    pub(crate) fn new(label: &str, value: impl Into<String>, note: impl Into<String>) -> Self {
        Self { label: label.to_owned(), value: value.into(), note: note.into() }
    }
}

/// Latencies by something that was varied.
#[derive(Debug, Serialize)]
pub(crate) struct Curve {
    pub(crate) title: String,
    /// Of what was varied.
    pub(crate) unit: String,
    pub(crate) lines: Vec<CurveLine>,
}

/// One line of a curve.
#[derive(Debug, Serialize)]
pub(crate) struct CurveLine {
    pub(crate) name: String,
    /// What was varied, and microseconds.
    pub(crate) points: Vec<(f64, f64)>,
}

/// A ratio with the interval that it lies in with 95 % confidence.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Ratio {
    pub(crate) what: String,
    /// The geometric means, whose quotient is the ratio.
    pub(crate) a: String,
    pub(crate) b: String,
    /// B divided by A.
    pub(crate) ratio: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// In words which is better.
    pub(crate) verdict: String,
}

/// What a mode has to show.
#[derive(Debug, Default)]
pub(crate) struct Exhibit {
    /// What was run: `Echo`.
    pub(crate) title: String,
    /// Against what and how, in one line.
    pub(crate) subtitle: String,
    pub(crate) cards: Vec<Card>,
    pub(crate) series: Vec<Series>,
    pub(crate) curves: Vec<Curve>,
    pub(crate) ratios: Vec<Ratio>,
    pub(crate) tables: Vec<Table>,
    /// The first table is what was measured, and not the run over time.
    pub(crate) rows_are_the_result: bool,
}
