//! The percentile format of HdrHistogram, which its plotters read. Values are in milliseconds.

use std::fmt::Write;
use std::path::{Path, PathBuf};

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

/// The same from when messages were really sent, which an open loop keeps beside it, and the file
/// it belongs into: `run.hgrm` has `run-from-sent.hgrm` beside it. None beside standard output.
pub(crate) fn uncorrected(exhibit: &Exhibit, beside: &Path) -> Option<(PathBuf, String)> {
    let latency = exhibit.series.first()?.uncorrected.as_ref()?;
    let mut name = beside.file_stem().filter(|name| *name != "-")?.to_owned();
    name.push("-from-sent");
    if let Some(extension) = beside.extension() {
        name.push(".");
        name.push(extension);
    }
    Some((beside.with_file_name(name), text(latency)))
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
    use crate::exhibit::Series;

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

    #[test]
    fn an_open_loop_has_a_second_distribution_beside_the_first() {
        let mut uncorrected = Latencies::default();
        uncorrected.record(7_000_000);
        let series = |uncorrected| Series {
            name: "echo".into(),
            timeline: Vec::new(),
            latency: Latencies::default(),
            uncorrected,
        };
        let exhibit =
            |uncorrected| Exhibit { series: vec![series(uncorrected)], ..Exhibit::default() };
        let open = exhibit(Some(uncorrected));
        let beside = |path: &str| super::uncorrected(&open, Path::new(path));
        let (path, text) = beside("out/run.hgrm").unwrap();
        assert_eq!(path, Path::new("out/run-from-sent.hgrm"));
        assert!(text.contains("Total count    =            1"), "{text}");
        assert_eq!(beside("run").unwrap().0, Path::new("run-from-sent"));
        assert!(beside("-").is_none());
        assert!(super::uncorrected(&exhibit(None), Path::new("run.hgrm")).is_none());
    }
}
