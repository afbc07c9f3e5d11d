//! The metrics page, in the text format of Prometheus. It counts nothing itself.

use std::fmt::Write;

use super::{Reports, process};
use crate::metrics::{Counters, Histogram};
use crate::server::DriverInUse;

pub(super) fn page(reports: &Reports, driver: DriverInUse, draining: bool) -> String {
    let mut page = Page::default();
    let version = env!("CARGO_PKG_VERSION");
    page.begin("build_info", "gauge", "Always 1; the version is in its label.");
    page.sample("build_info", &format!("version=\"{version}\""), 1);
    page.begin(
        "driver_info",
        "gauge",
        "Always 1; the driver in use, ring or epoll, is in its label.",
    );
    page.sample("driver_info", &format!("driver=\"{driver}\""), 1);
    page.begin("draining", "gauge", "1 while open connections are being closed for the end.");
    page.sample("draining", "", u64::from(draining));
    page.begin("shard_up", "gauge", "1 for a shard that answered when asked for these numbers.");
    for (shard, report) in reports.iter().enumerate() {
        page.sample("shard_up", &shard_label(shard), u64::from(report.is_some()));
    }
    page.begin("connections", "gauge", "Connections there are, in any phase.");
    for report in reports.iter().flatten() {
        page.sample("connections", &shard_label(report.shard), report.connections as u64);
    }
    for (place, metric) in Counters::default().iter().enumerate() {
        let name = format!("{}_total", metric.name);
        page.begin(&name, "counter", metric.help);
        for report in reports.iter().flatten() {
            let value = report.counters.iter().nth(place).map_or(0, |metric| metric.value);
            page.sample(&name, &shard_label(report.shard), value);
        }
    }
    page.begin(
        "delivery_queue_bytes",
        "histogram",
        "Bytes that waited for a subscriber when a message of a topic was queued for it.",
    );
    for report in reports.iter().flatten() {
        page.histogram("delivery_queue_bytes", &shard_label(report.shard), &report.deliveries);
    }
    for (name, kind, help, value) in process::samples() {
        let _ = writeln!(page.text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    }
    page.text
}

fn shard_label(shard: usize) -> String {
    format!("shard=\"{shard}\"")
}

#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn begin(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "# HELP ringsock_{name} {help}\n# TYPE ringsock_{name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &str, value: u64) {
        let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let _ = writeln!(self.text, "ringsock_{name}{labels} {value}");
    }

    fn histogram(&mut self, name: &str, labels: &str, histogram: &Histogram) {
        let bucket = format!("{name}_bucket");
        for (bound, count) in histogram.cumulative() {
            self.sample(&bucket, &format!("{labels},le=\"{bound}\""), count);
        }
        self.sample(&bucket, &format!("{labels},le=\"+Inf\""), histogram.total());
        self.sample(&format!("{name}_sum"), labels, histogram.sum());
        self.sample(&format!("{name}_count"), labels, histogram.total());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::ShardReport;
    use crate::metrics::Metric;

    #[test]
    fn every_counter_of_every_shard_that_answered_is_there_once() {
        let counters = Counters { accepted: 7, ..Counters::default() };
        let mut deliveries = Histogram::default();
        deliveries.count(0, 5);
        deliveries.count(5_000, 2);
        let (connections, draining, listed) = (3, false, Vec::new());
        let report = ShardReport { shard: 1, counters, deliveries, connections, draining, listed };
        let page = page(&[None, Some(report)], DriverInUse::Epoll, true);
        for line in [
            "ringsock_shard_up{shard=\"0\"} 0",
            "ringsock_shard_up{shard=\"1\"} 1",
            "ringsock_connections{shard=\"1\"} 3",
            "ringsock_accepted_total{shard=\"1\"} 7",
            "# HELP ringsock_accepted_total Connections accepted.",
            "# TYPE ringsock_accepted_total counter",
            "# TYPE ringsock_delivery_queue_bytes histogram",
            "ringsock_delivery_queue_bytes_bucket{shard=\"1\",le=\"0\"} 5",
            "ringsock_delivery_queue_bytes_bucket{shard=\"1\",le=\"4096\"} 5",
            "ringsock_delivery_queue_bytes_bucket{shard=\"1\",le=\"16384\"} 7",
            "ringsock_delivery_queue_bytes_bucket{shard=\"1\",le=\"+Inf\"} 7",
            "ringsock_delivery_queue_bytes_sum{shard=\"1\"} 10000",
            "ringsock_delivery_queue_bytes_count{shard=\"1\"} 7",
            "ringsock_driver_info{driver=\"epoll\"} 1",
            "ringsock_draining 1",
        ] {
            assert_eq!(page.lines().filter(|own| *own == line).count(), 1, "{line} in {page}");
        }
        for Metric { name, help, .. } in counters.iter() {
            assert!(page.contains(&format!("\n# HELP ringsock_{name}_total {help}\n")), "{name}");
            assert!(!help.contains('\\'), "{name}: a help text that would need escaping");
        }
    }
}
