//! The percentile format of HdrHistogram, which its plotters read. Values are in milliseconds.

use std::fmt::Write;

use crate::exhibit::Exhibit;
use crate::failure::Failure;
use crate::latency::Latencies;

/// The latencies of a result, of the first run if there are several.
pub(crate) fn of(exhibit: &Exhibit) -> Result<String, Failure> {
    let first = exhibit.series.first();
    first
        .map(|series| text(&series.latency))
        .ok_or_else(|| Failure::usage("--hgrm: this mode has no single distribution of latencies"))
}

fn text(latency: &Latencies) -> String {
    let ms = |ns: f64| ns / 1e6;
    let mut text = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    for point in latency.distribution() {
        let inverse = match point.quantile < 1.0 {
            true => format!("{:14.2}", 1.0 / (1.0 - point.quantile)),
            false => String::new(),
        };
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{:12.6} {:14.12} {:10} {inverse}",
            ms(point.ns as f64),
            point.quantile,
            point.count
        );
    }
    let (mean, deviation) = latency.moments_ns();
    text + &format!(
        "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]\n\
         #[Max     = {:12.3}, Total count    = {:12}]\n\
         #[Buckets = {:12}, SubBuckets     = {:12}]\n",
        ms(mean),
        ms(deviation),
        ms(latency.max_ns() as f64),
        latency.count(),
        27,
        2048
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_the_distribution_has_everything() {
        let mut latency = Latencies::default();
        (1..=100).for_each(|step| latency.record(step * 1_000_000));
        let text = text(&latency);
        let rows: Vec<Vec<&str>> = text
            .lines()
            .skip(2)
            .take_while(|line| !line.starts_with('#'))
            .map(|line| line.split_ascii_whitespace().collect())
            .collect();
        let last = rows.last().unwrap();
        assert_eq!((last[1], last[2], last.len()), ("1.000000000000", "100", 3));
        let median = rows.iter().find(|row| row[1].starts_with("0.5000")).unwrap();
        let value: f64 = median[0].parse().unwrap();
        assert!((value - 50.0).abs() < 0.1, "{median:?}");
        assert!(text.contains("Total count    =          100"), "{text}");
    }
}
