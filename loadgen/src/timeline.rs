//! A run as it went: one point for each interval that was counted. It takes no samples by itself.

use serde::Serialize;

use crate::latency::Latencies;
use crate::scoreboard::Totals;

/// One interval. Latencies are in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Point {
    /// The end of the interval, in seconds since counting began.
    pub(crate) at: f64,
    pub(crate) received: u64,
    pub(crate) rate: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
    /// Cores that the server kept busy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_cores: Option<f64>,
}

impl Point {
    /// The interval of `seconds` that ends `at`, in which counts went from `before` to `after`.
    pub(crate) fn new(
        at: f64,
        seconds: f64,
        before: &Totals,
        after: &Totals,
        latency: &Latencies,
        server_cpu_ns: Option<u64>,
    ) -> Self {
        let seconds = seconds.max(1e-9);
        // Where connections come and go they are what is counted, where they idle their Pongs.
        let received = match (after.cycles, after.pings) {
            (0, 0) => after.received - before.received,
            (0, _) => after.pongs - before.pongs,
            (cycles, _) => cycles - before.cycles,
        };
        Self {
            at,
            received,
            rate: received as f64 / seconds,
            p50: latency.quantile_ns(0.5) as f64 / 1000.0,
            p99: latency.quantile_ns(0.99) as f64 / 1000.0,
            max: latency.max_ns() as f64 / 1000.0,
            server_cores: server_cpu_ns.map(|cpu_ns| cpu_ns as f64 / 1e9 / seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_tells_rates_of_its_own_interval() {
        let before = Totals { received: 100, ..Totals::default() };
        let after = Totals { received: 600, ..Totals::default() };
        let mut latency = Latencies::default();
        latency.record(3_000);
        let point = Point::new(2.0, 0.5, &before, &after, &latency, Some(250_000_000));
        assert_eq!(point.received, 500);
        assert!((point.rate - 1000.0).abs() < 1e-9);
        assert!((point.max - 3.0).abs() < 0.01);
        assert!((point.server_cores.unwrap() - 0.5).abs() < 1e-9);
        let cycles = Totals { received: 600, cycles: 7, ..Totals::default() };
        assert_eq!(Point::new(2.0, 0.5, &before, &cycles, &latency, None).received, 7);
        let pongs = Totals { received: 600, pings: 9, pongs: 8, ..Totals::default() };
        assert_eq!(Point::new(2.0, 0.5, &before, &pongs, &latency, None).received, 8);
    }
}
