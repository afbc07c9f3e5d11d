//! A result as a page: one file with everything in it that a browser needs. The charts are drawn by
//! the page itself from the data that is put into it here.

use serde::Serialize;

use crate::exhibit::{Card, Curve, Ratio, Series};
use crate::interrupt;
use crate::latency::Latencies;
use crate::report::Outcome;
use crate::table::Table;
use crate::timeline::Point;

const PAGE: &str = include_str!("page.html");
/// Where the data goes.
const PLACE: &str = "\"the data\"";

/// What the page draws.
#[derive(Serialize)]
struct Data<'a> {
    title: &'a str,
    subtitle: &'a str,
    version: &'static str,
    sound: bool,
    interrupted: bool,
    /// Expectations that were missed.
    missed: &'a [String],
    warnings: &'a [String],
    cards: &'a [Card],
    lines: Vec<Line<'a>>,
    curves: &'a [Curve],
    ratios: &'a [Ratio],
    tables: &'a [Table],
    /// The text that people read on a terminal.
    text: &'a str,
}

/// One run.
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    timeline: &'a [Point],
    /// Quantile and microseconds.
    latency: Vec<(f64, f64)>,
    uncorrected: Option<Vec<(f64, f64)>>,
}

impl<'a> Line<'a> {
    fn new(series: &'a Series) -> Self {
        Self {
            name: &series.name,
            timeline: &series.timeline,
            latency: distribution(&series.latency),
            uncorrected: series.uncorrected.as_ref().map(distribution),
        }
    }
}

/// The points of a distribution that can be drawn: its end, the quantile 1, lies nowhere on the
/// axis, so it stands where the one before the last of so many values would.
fn distribution(latency: &Latencies) -> Vec<(f64, f64)> {
    let last = 1.0 - 1.0 / (latency.count().max(2) as f64);
    let points = latency.distribution();
    points.map(|point| (point.quantile.min(last), point.ns as f64 / 1000.0)).collect()
}

/// A result as a page.
pub(crate) fn of(outcome: &Outcome, missed: &[String]) -> String {
    let exhibit = &outcome.exhibit;
    let data = Data {
        title: &exhibit.title,
        subtitle: &exhibit.subtitle,
        version: env!("CARGO_PKG_VERSION"),
        sound: outcome.sound && outcome.whole,
        interrupted: interrupt::is_interrupted(),
        missed,
        warnings: &outcome.warnings,
        cards: &exhibit.cards,
        lines: exhibit.series.iter().map(Line::new).collect(),
        curves: &exhibit.curves,
        ratios: &exhibit.ratios,
        tables: &exhibit.tables,
        text: &outcome.text,
    };
    // Numbers and texts always have a JSON form; a text must not end the script it stands in.
    let json = serde_json::to_string(&data).unwrap_or_default().replace('<', "\\u003c");
    PAGE.replacen(PLACE, &json, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exhibit::Exhibit;

    #[test]
    fn data_cannot_leave_the_script_it_stands_in() {
        let exhibit = Exhibit { title: "</script><b>".to_owned(), ..Exhibit::default() };
        let outcome = Outcome::new(&(), String::new(), true).showing(exhibit);
        let page = of(&outcome, &[]);
        assert!(page.contains(r"\u003c/script>\u003cb>"), "{page}");
        assert_eq!(page.matches("</script>").count(), 1);
        assert!(!page.contains(PLACE));
    }

    #[test]
    fn nothing_on_the_page_comes_from_elsewhere() {
        for word in ["http:", "https:", "src=", "@import", "url("] {
            let used = PAGE.replace("http://www.w3.org/2000/svg", "");
            assert!(!used.contains(word), "{word}");
        }
    }

    #[test]
    fn the_end_of_a_distribution_has_a_place_on_the_axis() {
        let mut latency = Latencies::default();
        (1..=1000).for_each(|step| latency.record(step * 1000));
        let points = distribution(&latency);
        assert!(points.iter().all(|(quantile, _)| *quantile < 1.0));
        assert!((points.last().unwrap().0 - 0.999).abs() < 1e-9);
    }
}
