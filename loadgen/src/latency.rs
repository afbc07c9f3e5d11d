//! Latencies as they are collected (nanoseconds, three significant digits) and as they are told.
//! What a latency is measured from is decided where it is recorded.

use hdrhistogram::Histogram;
use serde::ser::Error;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// The longest time told apart; longer ones count as this.
const LATENCY_NS_MAX: u64 = 120_000_000_000;
/// Points of a distribution for each halving of the distance to the maximum.
const POINTS_PER_HALVING: u32 = 5;

/// A histogram of latencies.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    histogram: Histogram<u64>,
}

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3);
        Self { histogram: histogram.expect("the bounds are constants that the crate accepts") }
    }
}

/// One point of a distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct QuantilePoint {
    pub(crate) quantile: f64,
    pub(crate) ns: u64,
    /// Latencies up to this one.
    pub(crate) count: u64,
}

impl Latencies {
    /// Adds one.
    #[inline]
    pub(crate) fn record(&mut self, nanoseconds: u64) {
        self.histogram.saturating_record(nanoseconds);
    }

    /// Adds the same several times.
    pub(crate) fn record_times(&mut self, nanoseconds: u64, count: u64) {
        self.histogram.saturating_record_n(nanoseconds, count);
    }

    /// Adds all of another.
    pub(crate) fn merge(&mut self, other: &Self) {
        // Both have the same bounds, so nothing can be out of range.
        let _ = self.histogram.add(&other.histogram);
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.histogram.reset();
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The value that this share of all latencies does not exceed, in nanoseconds.
    pub(crate) fn quantile_ns(&self, quantile: f64) -> u64 {
        self.histogram.value_at_quantile(quantile)
    }

    /// The longest in nanoseconds.
    pub(crate) fn max_ns(&self) -> u64 {
        self.histogram.max()
    }

    /// Mean and standard deviation in nanoseconds.
    pub(crate) fn moments_ns(&self) -> (f64, f64) {
        (self.histogram.mean(), self.histogram.stdev())
    }

    /// The whole distribution, denser towards the maximum.
    pub(crate) fn distribution(&self) -> impl Iterator<Item = QuantilePoint> + '_ {
        let mut count = 0;
        self.histogram.iter_quantiles(POINTS_PER_HALVING).map(move |step| {
            count += step.count_since_last_iteration();
            let quantile = step.quantile_iterated_to();
            QuantilePoint { quantile, ns: step.value_iterated_to(), count }
        })
    }

    /// What is told of them.
    pub(crate) fn summary(&self) -> LatencySummary {
        let at = |quantile| self.quantile_ns(quantile) as f64 / 1000.0;
        LatencySummary {
            count: self.count(),
            mean: self.moments_ns().0 / 1000.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: self.max_ns() as f64 / 1000.0,
            buckets: self.buckets().collect(),
        }
    }

    /// The buckets of the histogram that are not empty: up to how many microseconds, and how many.
    fn buckets(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        self.histogram
            .iter_recorded()
            .map(|step| (step.value_iterated_to() as f64 / 1000.0, step.count_at_value()))
    }
}

/// Quantiles in microseconds; zeros if nothing was collected.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct LatencySummary {
    pub(crate) count: u64,
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) p9999: f64,
    pub(crate) max: f64,
    /// What they were made from, so that several runs can be merged: the buckets that are not
    /// empty, whose bounds are the same in all runs.
    #[serde(serialize_with = "in_one_line")]
    pub(crate) buckets: Vec<(f64, u64)>,
}

/// Keeps a long list from having a line for each of its numbers.
fn in_one_line<S: Serializer>(buckets: &[(f64, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    let line = serde_json::to_string(buckets).and_then(RawValue::from_string);
    line.map_err(S::Error::custom)?.serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_a_sorted_list_within_a_thousandth() {
        let values: Vec<u64> = (1..=10_000).map(|step| step * 1_000).collect();
        let (mut even, mut odd) = (Latencies::default(), Latencies::default());
        for &value in &values {
            if value % 2_000 == 0 { even.record(value) } else { odd.record(value) }
        }
        even.merge(&odd);
        let summary = even.summary();
        assert_eq!(summary.count, 10_000);
        for (quantile, told) in
            [(0.5, summary.p50), (0.9, summary.p90), (0.99, summary.p99), (0.999, summary.p999)]
        {
            let index = (quantile * values.len() as f64).ceil() as usize - 1;
            let exact = values[index] as f64 / 1000.0;
            assert!((told - exact).abs() / exact < 0.001, "{quantile}: {told} is not {exact}");
        }
        assert!((summary.max - 10_000.0).abs() < 10.0);
    }

    #[test]
    fn buckets_of_several_runs_are_merged_into_the_quantiles_of_all() {
        let (mut one, mut other) = (Latencies::default(), Latencies::default());
        (1..=5_000).for_each(|step| one.record(step * step));
        (1..=700).for_each(|step| other.record_times(step * 7_777, 3));
        let mut buckets = [one.summary().buckets, other.summary().buckets].concat();
        one.merge(&other);
        let all = one.summary();
        assert_eq!(buckets.iter().map(|(_, count)| count).sum::<u64>(), all.count);
        buckets.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
        for (quantile, told) in [(0.5, all.p50), (0.99, all.p99), (0.9999, all.p9999)] {
            let rank = (quantile * all.count as f64).ceil() as u64;
            let mut so_far = 0;
            let found = buckets.iter().find(|(_, count)| {
                so_far += count;
                so_far >= rank
            });
            assert_eq!(found.map(|(us, _)| *us), Some(told), "{quantile}");
        }
        assert_eq!(buckets.last().map(|(us, _)| *us), Some(all.max));
    }

    #[test]
    fn buckets_stand_in_one_line_of_json() {
        let mut latencies = Latencies::default();
        [1_500, 1_500, 82_100].into_iter().for_each(|ns| latencies.record(ns));
        let json = serde_json::to_string_pretty(&latencies.summary()).unwrap();
        assert!(json.contains("\"buckets\": [[1.5,2],[82.111,1]]\n"), "{json}");
    }

    #[test]
    fn nothing_collected_is_all_zeros_and_a_day_counts_as_the_longest() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.summary().count, 0);
        assert!(latencies.summary().p99.abs() < f64::EPSILON);
        latencies.record(86_400_000_000_000);
        assert!((latencies.summary().max - 120_000_000.0).abs() < 100_000.0);
    }

    #[test]
    fn a_distribution_rises_and_ends_with_everything() {
        let mut latencies = Latencies::default();
        (1..=1000).for_each(|step| latencies.record(step * 1000));
        let points: Vec<_> = latencies.distribution().collect();
        assert!(points.windows(2).all(|pair| pair[0].ns <= pair[1].ns));
        let last = points.last().unwrap();
        assert_eq!(last.count, 1000);
        assert!((last.quantile - 1.0).abs() < f64::EPSILON);
    }
}
