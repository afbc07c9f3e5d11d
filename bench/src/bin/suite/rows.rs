//! What is measured and which ratios are wanted: data only.

use crate::load::{Load, Quantile, Work};

/// One line of the table.
pub(crate) struct Row {
    /// As it is printed and selected by.
    pub(crate) name: &'static str,
    pub(crate) group: &'static str,
    pub(crate) measured: Measured,
    pub(crate) targets: &'static [Target],
}

/// What takes turns in a row.
pub(crate) enum Measured {
    /// Servers under a load; ours do the baseline as well, for a target to compare with.
    Servers { load: Load, baseline: Option<Baseline> },
    /// Pieces of work by the names that they have in the table and in `ringsock_bench::work`; the
    /// value is CPU nanoseconds per operation.
    Functions(&'static [(&'static str, &'static str)]),
}

impl Row {
    /// The unit of the values.
    pub(crate) fn unit(&self) -> &'static str {
        match &self.measured {
            Measured::Servers { load, .. } => load.unit(),
            Measured::Functions(_) => "ns/operation",
        }
    }
}

/// The group of rows that need no server.
pub(crate) const FUNCTIONS: &str = "functions";

/// An easier load that a harder one is compared with.
pub(crate) struct Baseline {
    /// What stands behind the names of the servers that do it.
    pub(crate) label: &'static str,
    pub(crate) load: Load,
}

/// A ratio that is wanted.
pub(crate) struct Target {
    /// Who is compared with; the best of them counts. None: the value itself is meant.
    pub(crate) against: &'static [&'static str],
    /// The highest ratio wanted.
    pub(crate) at_most: f64,
}

const fn echo(connections: usize, payload_bytes: usize, in_flight: usize) -> Load {
    Load::new(Work::Echo { in_flight }, connections, payload_bytes)
}

const fn echo_at_rate(connections: usize, payload_bytes: usize, per_second: u32) -> Load {
    let work = Work::EchoAtRate { per_second, quantile: Quantile::P99 };
    Load::new(work, connections, payload_bytes)
}

const fn fan_out(connections: usize, payload_bytes: usize, in_flight: usize) -> Load {
    Load::new(Work::FanOut { in_flight }, connections, payload_bytes)
}

const fn fan_out_at_rate(
    connections: usize,
    payload_bytes: usize,
    per_second: u32,
    quantile: Quantile,
) -> Load {
    Load::new(Work::FanOutAtRate { per_second, quantile }, connections, payload_bytes)
}

/// A row that stands by itself.
const fn row(
    name: &'static str,
    group: &'static str,
    load: Load,
    targets: &'static [Target],
) -> Row {
    Row { name, group, measured: Measured::Servers { load, baseline: None }, targets }
}

/// The same work on two shards and on one.
const fn two_shards(name: &'static str, load: Load) -> Row {
    let baseline = Some(Baseline { label: "one shard", load: load.on_shards(1) });
    let targets = &[Target { against: &["ringsock, one shard"], at_most: 1.15 }];
    let measured = Measured::Servers { load: load.on_shards(2), baseline };
    Row { name, group: "fan-out", measured, targets }
}

/// Echoes over TLS and without.
const fn echo_over_tls(name: &'static str, load: Load, targets: &'static [Target]) -> Row {
    let baseline = Some(Baseline { label: "plain", load });
    let measured = Measured::Servers { load: load.over_tls(), baseline };
    Row { name, group: "TLS", measured, targets }
}

/// Unmasking and the copy of the same bytes.
const fn unmask(name: &'static str, pieces: &'static [(&'static str, &'static str)]) -> Row {
    let targets = &[Target { against: &["memcpy"], at_most: 1.10 }];
    Row { name, group: FUNCTIONS, measured: Measured::Functions(pieces), targets }
}

/// Publishing where it reaches nobody.
const fn publish_to_nobody(
    name: &'static str,
    pieces: &'static [(&'static str, &'static str)],
) -> Row {
    let targets = const { &[value(50.0)] };
    Row { name, group: FUNCTIONS, measured: Measured::Functions(pieces), targets }
}

const fn raw(at_most: f64) -> Target {
    Target { against: &["raw-ring", "raw-epoll"], at_most }
}

const fn uwebsockets(at_most: f64) -> Target {
    Target { against: &["uWebSockets"], at_most }
}

const fn plain(at_most: f64) -> Target {
    Target { against: &["ringsock, plain"], at_most }
}

const fn value(at_most: f64) -> Target {
    Target { against: &[], at_most }
}

/// Every row, in the order of the table.
pub(crate) const ROWS: &[Row] = &[
    row(
        "echo 20 B, 256 connections, 1 in flight",
        "echo",
        echo(256, 20, 1),
        &[raw(1.05), uwebsockets(0.80)],
    ),
    row("echo 20 B, 256 connections, 16 in flight", "echo", echo(256, 20, 16), &[raw(1.15)]),
    row("echo 1 KiB, 256 connections", "echo", echo(256, 1024, 1), &[]),
    row("echo 16 KiB, 64 connections", "large messages", echo(64, 16 * 1024, 1), &[raw(1.10)]),
    row("echo 1 MiB, 16 connections", "large messages", echo(16, 1024 * 1024, 1), &[raw(1.35)]),
    row("echo 20 B, 1 connection", "echo", echo(1, 20, 1), &[raw(1.15)]),
    row(
        "echo 20 B, 15,000 connections",
        "echo",
        echo(15_000, 20, 1),
        &[raw(1.08), uwebsockets(1.00)],
    ),
    row(
        "fan-out 100 B, 1,000 subscribers, 1 in flight",
        "fan-out",
        fan_out(1000, 100, 1),
        &[raw(1.10)],
    ),
    row(
        "fan-out 100 B, 1,000 subscribers, 16 in flight",
        "fan-out",
        fan_out(1000, 100, 16),
        &[raw(1.10)],
    ),
    row(
        "fan-out 512 B, 5,000 subscribers, 4 in flight",
        "fan-out",
        fan_out(5000, 512, 4),
        &[raw(1.10)],
    ),
    two_shards("fan-out 100 B, 1,000 subscribers, 1 in flight, two shards", fan_out(1000, 100, 1)),
    two_shards(
        "fan-out 100 B, 1,000 subscribers, 16 in flight, two shards",
        fan_out(1000, 100, 16),
    ),
    echo_over_tls("echo 20 B over TLS, 256 connections", echo(256, 20, 1), &[plain(1.20)]),
    echo_over_tls("echo 16 KiB over TLS, 64 connections", echo(64, 16 * 1024, 1), &[plain(2.40)]),
    row(
        "echo 4 KiB of JSON, compressed, 64 connections",
        "compression",
        echo(64, 0, 1).deflated(),
        &[
            Target { against: &["ws"], at_most: 1.00 },
            Target { against: &["Bun"], at_most: 1.00 },
            Target { against: &["sockudo-ws"], at_most: 1.00 },
        ],
    ),
    row(
        "latency p99, echo 20 B, 256 connections, 5,000/s",
        "latency",
        echo_at_rate(256, 20, 5_000),
        &[],
    ),
    row(
        "latency p99, echo 20 B, 256 connections, 20,000/s",
        "latency",
        echo_at_rate(256, 20, 20_000),
        &[],
    ),
    row(
        "latency p99, fan-out 100 B, 1,000 subscribers, 20/s",
        "latency",
        fan_out_at_rate(1000, 100, 20, Quantile::P99),
        &[],
    ),
    row(
        "latency p99.9, fan-out 256 B, 15,000 subscribers, 20/s, two shards",
        "latency",
        fan_out_at_rate(15_000, 256, 20, Quantile::P999).on_shards(2),
        &[value(100e6)],
    ),
    row(
        "connect, upgrade, echo, close",
        "connections",
        Load::new(Work::Churn, 64, 20),
        &[raw(1.10), uwebsockets(0.90)],
    ),
    row(
        "memory of an idle connection",
        "connections",
        Load::new(Work::Idle, 10_000, 20),
        &[value(256.0)],
    ),
    row(
        "memory of an idle connection over TLS",
        "connections",
        Load::new(Work::Idle, 2_000, 20).over_tls(),
        &[value(12.0 * 1024.0)],
    ),
    unmask("unmask 1 KiB", &[("apply_mask", "unmask/1024 B"), ("memcpy", "memcpy/1024 B")]),
    unmask("unmask 16 KiB", &[("apply_mask", "unmask/16384 B"), ("memcpy", "memcpy/16384 B")]),
    unmask("unmask 64 KiB", &[("apply_mask", "unmask/65536 B"), ("memcpy", "memcpy/65536 B")]),
    unmask("unmask 1 MiB", &[("apply_mask", "unmask/1048576 B"), ("memcpy", "memcpy/1048576 B")]),
    publish_to_nobody(
        "publish to nobody, no topics",
        &[("publish", "publish to nobody/no topics")],
    ),
    publish_to_nobody(
        "publish to nobody, others have topics",
        &[("publish", "publish to nobody/other topics")],
    ),
    publish_to_nobody(
        "publish to nobody, others have a pattern",
        &[("publish", "publish to nobody/a pattern")],
    ),
    publish_to_nobody(
        "publish to nobody, topics have rules",
        &[("publish", "publish to nobody/topic rules")],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_rows_have_the_same_name() {
        for (index, row) in ROWS.iter().enumerate() {
            assert!(ROWS[..index].iter().all(|other| other.name != row.name), "{}", row.name);
        }
    }

    #[test]
    fn every_function_is_a_piece_of_work() {
        for row in ROWS {
            let Measured::Functions(pieces) = &row.measured else { continue };
            for (_, piece) in *pieces {
                assert!(ringsock_bench::work::find(piece).is_some(), "{}: {piece}", row.name);
            }
        }
    }
}
