//! Results as they are written: the parts that the reports of all modes share, for people and as
//! JSON. Nothing is measured here.

use serde::Serialize;

use crate::exhibit::Exhibit;
use crate::expect::Figures;
use crate::latency::LatencySummary;
use crate::output::{duration_text, grouped, mib};
use crate::scoreboard::{Scoreboard, Totals};
use crate::subprotocols::Subprotocols;
use crate::usage::{ProcessUse, Window};

/// What a mode hands back.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// For people.
    pub(crate) text: String,
    /// For programs: JSON, in the order of the report's fields.
    pub(crate) json: String,
    /// For pages and tables.
    pub(crate) exhibit: Exhibit,
    /// What expectations are held against.
    pub(crate) figures: Figures,
    /// Whether nothing was lost and nothing was wrong.
    pub(crate) sound: bool,
    /// Whether all was measured that was to be. No condition makes up for that.
    pub(crate) whole: bool,
    /// What is to be known before it is believed.
    pub(crate) warnings: Vec<String>,
}

impl Outcome {
    /// Joins the forms of one report.
    pub(crate) fn new(report: &impl Serialize, text: String, sound: bool) -> Self {
        // A struct of numbers and texts always has a JSON form.
        let json = serde_json::to_string_pretty(report).unwrap_or_default();
        let (exhibit, figures, warnings) = (Exhibit::default(), Figures::default(), Vec::new());
        Self { text, json, exhibit, figures, sound, whole: true, warnings }
    }

    /// Not all was measured that was to be, unless this holds.
    pub(crate) fn whole_if(mut self, whole: bool) -> Self {
        self.whole = whole;
        self
    }

    /// With what there is to show.
    pub(crate) fn showing(mut self, exhibit: Exhibit) -> Self {
        self.exhibit = exhibit;
        self
    }

    /// With the figures that can be asked for.
    pub(crate) fn with_figures(mut self, figures: Figures) -> Self {
        self.figures = figures;
        self
    }

    /// With what is to be known before it is believed.
    pub(crate) fn warning(mut self, warnings: Vec<String>) -> Self {
        self.warnings = warnings;
        self
    }
}

/// What CPU time is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Message,
    Cycle,
    Delivery,
    Connection,
}

/// CPU time of one unit in nanoseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) enum CpuCost {
    #[serde(rename = "cpu_ns_per_message")]
    Message(f64),
    #[serde(rename = "cpu_ns_per_cycle")]
    Cycle(f64),
    #[serde(rename = "cpu_ns_per_delivery")]
    Delivery(f64),
    #[serde(rename = "cpu_ns_per_connection")]
    Connection(f64),
}

impl CpuCost {
    fn new(unit: Unit, cpu_ns: u64, count: u64) -> Self {
        let each = cpu_ns as f64 / count.max(1) as f64;
        match unit {
            Unit::Message => Self::Message(each),
            Unit::Cycle => Self::Cycle(each),
            Unit::Delivery => Self::Delivery(each),
            Unit::Connection => Self::Connection(each),
        }
    }

    /// The number.
    pub(crate) fn ns(self) -> f64 {
        match self {
            Self::Message(ns) | Self::Cycle(ns) | Self::Delivery(ns) | Self::Connection(ns) => ns,
        }
    }

    /// The number with its unit.
    pub(crate) fn text(self) -> String {
        match self {
            Self::Message(ns) => format!("{} ns CPU a message", grouped(ns)),
            Self::Cycle(ns) => format!("{:.2} µs CPU a cycle", ns / 1000.0),
            Self::Delivery(ns) => format!("{} ns CPU a delivery", grouped(ns)),
            Self::Connection(ns) => format!("{:.2} µs CPU a connection", ns / 1000.0),
        }
    }
}

/// System calls of one unit.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) enum CallCost {
    #[serde(rename = "system_calls_per_message")]
    Message(f64),
    #[serde(rename = "system_calls_per_cycle")]
    Cycle(f64),
    #[serde(rename = "system_calls_per_delivery")]
    Delivery(f64),
    #[serde(rename = "system_calls_per_connection")]
    Connection(f64),
}

impl CallCost {
    fn new(unit: Unit, calls: u64, count: u64) -> Self {
        let each = calls as f64 / count.max(1) as f64;
        match unit {
            Unit::Message => Self::Message(each),
            Unit::Cycle => Self::Cycle(each),
            Unit::Delivery => Self::Delivery(each),
            Unit::Connection => Self::Connection(each),
        }
    }

    /// What conditions call it, and the number.
    pub(crate) fn figure(self) -> (&'static str, f64) {
        match self {
            Self::Message(calls) => ("syscalls-per-message", calls),
            Self::Cycle(calls) => ("syscalls-per-cycle", calls),
            Self::Delivery(calls) => ("syscalls-per-delivery", calls),
            Self::Connection(calls) => ("syscalls-per-connection", calls),
        }
    }

    /// The number with its unit.
    pub(crate) fn text(self) -> String {
        let (name, calls) = self.figure();
        format!("{calls:.3} system calls a {}", name.trim_start_matches("syscalls-per-"))
    }
}

/// What the server used in the counted window.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct ServerUse {
    #[serde(flatten)]
    pub(crate) cost: CpuCost,
    /// Cores kept busy: 1.0 is one core all the time.
    pub(crate) cores_busy: f64,
    /// The same of the thread that used most.
    pub(crate) busiest_thread: f64,
    pub(crate) rss_bytes: u64,
    pub(crate) anon_bytes: u64,
    pub(crate) voluntary_switches: u64,
    pub(crate) involuntary_switches: u64,
    /// Calls of read, write and their relatives; not send and receive, and none that io_uring saves.
    pub(crate) read_write_calls: Option<u64>,
    /// All system calls, where they were counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) system_calls: Option<u64>,
    #[serde(flatten)]
    pub(crate) call_cost: Option<CallCost>,
}

impl ServerUse {
    /// The line on its system calls, where they were counted.
    pub(crate) fn calls_line(&self) -> String {
        let counted = self.system_calls.zip(self.call_cost);
        let line = counted.map(|(calls, cost)| {
            format!("calls     {}, {} in all\n", cost.text(), grouped(calls as f64))
        });
        line.unwrap_or_default()
    }
}

/// What this process used in the counted window.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct ClientUse {
    #[serde(flatten)]
    pub(crate) cost: CpuCost,
    /// Cores kept busy: where it equals the cores it may use, the load generator is the limit.
    pub(crate) cores_busy: f64,
    /// The same of the thread that used most.
    pub(crate) busiest_thread: f64,
    /// Share of the time in which a thread could have run and had no core.
    pub(crate) kept_waiting: f64,
}

/// Who spent how much on `count` units.
pub(crate) fn costs(window: &Window, unit: Unit, count: u64) -> (Option<ServerUse>, ClientUse) {
    let server = window.server.map(|used: ProcessUse| ServerUse {
        cost: CpuCost::new(unit, used.cpu_ns, count),
        cores_busy: window.share(used.cpu_ns),
        busiest_thread: window.share(used.busiest_ns),
        rss_bytes: used.rss_bytes,
        anon_bytes: used.anon_bytes,
        voluntary_switches: used.voluntary_switches,
        involuntary_switches: used.involuntary_switches,
        read_write_calls: used.read_write_calls,
        system_calls: used.system_calls,
        call_cost: used.system_calls.map(|calls| CallCost::new(unit, calls, count)),
    });
    let client = ClientUse {
        cost: CpuCost::new(unit, window.client.cpu_ns, count),
        cores_busy: window.share(window.client.cpu_ns),
        busiest_thread: window.share(window.client.busiest_ns),
        kept_waiting: window.share(window.client.kept_waiting_ns).min(1.0),
    };
    (server, client)
}

/// What was checked over the whole run, warm-up included.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Checked {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// Of those received, how many were compared byte for byte.
    pub(crate) compared: u64,
    /// Connections on which compression was agreed.
    pub(crate) compressed_connections: u64,
    /// What was chosen of the subprotocols that were offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) subprotocols: Option<Subprotocols>,
}

impl Checked {
    /// Of a run with these sums.
    pub(crate) fn of(board: &Scoreboard, totals: &Totals) -> Self {
        let Totals { sent, received, compared, compressed: compressed_connections, .. } = *totals;
        let subprotocols = board.subprotocols();
        Self { sent, received, compared, compressed_connections, subprotocols }
    }
}

/// What went wrong; all zero after a sound run.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Errors {
    pub(crate) lost_messages: u64,
    pub(crate) wrong_messages: u64,
    /// Messages that came once more than they should.
    pub(crate) duplicated_messages: u64,
    /// Messages that came after one that was sent later.
    pub(crate) reordered_messages: u64,
    /// Messages that an open loop had to leave out.
    pub(crate) unsent_messages: u64,
    pub(crate) lost_connections: u64,
    /// Connections that could not be opened.
    pub(crate) unopened_connections: u64,
    /// The first fault in words.
    pub(crate) first: Option<String>,
}

impl Errors {
    /// The errors of a run in which `due` messages had to come back.
    pub(crate) fn new(board: &Scoreboard, totals: &Totals, due: u64) -> Self {
        Self {
            lost_messages: due.saturating_sub(totals.received),
            wrong_messages: totals.wrong + totals.received.saturating_sub(due),
            duplicated_messages: totals.duplicated,
            reordered_messages: totals.reordered,
            unsent_messages: totals.unsent,
            lost_connections: totals.lost,
            unopened_connections: totals.unopened,
            first: board.first_fault(),
        }
    }

    /// Each kind: what conditions call it, how many there are, and what people call it.
    pub(crate) fn kinds(&self) -> [(&'static str, u64, &'static str); 7] {
        [
            ("loss", self.lost_messages, "messages lost"),
            ("wrong", self.wrong_messages, "wrong"),
            ("duplicates", self.duplicated_messages, "twice"),
            ("reordered", self.reordered_messages, "out of order"),
            ("unsent", self.unsent_messages, "not sent"),
            ("lost-connections", self.lost_connections, "connections lost"),
            ("unopened", self.unopened_connections, "connections not opened"),
        ]
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.kinds().iter().all(|(_, count, _)| *count == 0)
    }

    /// Those that there are, in words.
    pub(crate) fn text(&self) -> String {
        let kinds = self.kinds();
        let told = kinds.iter().filter(|(_, count, _)| *count > 0);
        let told: Vec<String> =
            told.map(|(_, count, what)| format!("{} {what}", grouped(*count as f64))).collect();
        let first = self.first.as_ref().map(|first| format!("; first: {first}"));
        told.join(", ") + &first.unwrap_or_default()
    }
}

/// Quantiles of one kind of latency, under a name of at most nine letters.
pub(crate) fn latency_line_named(name: &str, latency: &LatencySummary) -> String {
    let text = |us: f64| duration_text(us * 1000.0);
    format!(
        "{name:<9} p50 {}   p90 {}   p99 {}   p99.9 {}   p99.99 {}   max {}\n",
        text(latency.p50),
        text(latency.p90),
        text(latency.p99),
        text(latency.p999),
        text(latency.p9999),
        text(latency.max)
    )
}

/// The line on latency.
pub(crate) fn latency_line(latency: &LatencySummary) -> String {
    latency_line_named("latency", latency)
}

/// The lines on what both sides used.
pub(crate) fn use_lines(server: Option<&ServerUse>, client: &ClientUse) -> String {
    let mut text = String::new();
    if let Some(server) = server {
        text += &format!(
            "server    {}, {:.2} cores busy, RSS {} MiB, anonymous {} MiB, {} + {} context switches{}\n",
            server.cost.text(),
            server.cores_busy,
            mib(server.rss_bytes),
            mib(server.anon_bytes),
            grouped(server.voluntary_switches as f64),
            grouped(server.involuntary_switches as f64),
            server
                .read_write_calls
                .map(|calls| format!(", {} read and write calls", grouped(calls as f64)))
                .unwrap_or_default()
        );
        text += &server.calls_line();
    }
    text + &format!(
        "client    {}, {:.2} cores busy, busiest thread {:.0} %, kept waiting {:.0} %\n",
        client.cost.text(),
        client.cores_busy,
        client.busiest_thread * 100.0,
        client.kept_waiting * 100.0
    )
}

/// The lines on what was checked and what was wrong with it.
pub(crate) fn check_lines(checked: &Checked, errors: &Errors) -> String {
    let mut text = format!(
        "checked   {} sent, {} received, {} compared byte for byte\n",
        grouped(checked.sent as f64),
        grouped(checked.received as f64),
        grouped(checked.compared as f64)
    );
    if checked.compressed_connections > 0 {
        let connections = grouped(checked.compressed_connections as f64);
        text += &format!("deflate   agreed on {connections} connections\n");
    }
    text += &checked.subprotocols.as_ref().map(Subprotocols::line).unwrap_or_default();
    if !errors.is_empty() {
        text += &format!("WRONG     {}\n", errors.text());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(server: Option<ProcessUse>) -> Window {
        let client = used(3_000_000_000);
        Window { seconds: 2.0, received: 1_000_000, server, client, ..Window::default() }
    }

    fn used(cpu_ns: u64) -> ProcessUse {
        ProcessUse { cpu_ns, anon_bytes: 1 << 20, ..ProcessUse::default() }
    }

    #[test]
    fn cpu_time_is_divided_by_what_was_counted_and_named_after_it() {
        let (server, client) = costs(&window(Some(used(500_000_000))), Unit::Message, 1_000_000);
        let server = serde_json::to_value(server).unwrap();
        assert_eq!(server["cpu_ns_per_message"], 500.0);
        assert_eq!(server["cores_busy"], 0.25);
        assert_eq!(server["anon_bytes"], 1 << 20);
        let client = serde_json::to_value(client).unwrap();
        assert_eq!(client["cpu_ns_per_message"], 3000.0);
        let (server, _) = costs(&window(Some(used(1000))), Unit::Delivery, 10);
        assert_eq!(serde_json::to_value(server).unwrap()["cpu_ns_per_delivery"], 100.0);
        assert!(costs(&window(None), Unit::Cycle, 1).0.is_none());
    }

    #[test]
    fn nothing_counted_divides_by_one_and_not_by_zero() {
        let (server, _) = costs(&window(Some(used(5))), Unit::Cycle, 0);
        assert_eq!(serde_json::to_value(server).unwrap()["cpu_ns_per_cycle"], 5.0);
    }

    #[test]
    fn too_few_are_lost_and_too_many_are_wrong() {
        let board = Scoreboard::new();
        let errors = |received| {
            let totals = Totals { received, ..Totals::default() };
            Errors::new(&board, &totals, 10)
        };
        assert!(errors(10).is_empty());
        assert_eq!((errors(7).lost_messages, errors(7).wrong_messages), (3, 0));
        assert_eq!((errors(11).lost_messages, errors(11).wrong_messages), (0, 1));
    }

    #[test]
    fn faults_are_told_only_when_there_are_some() {
        let mut checked = Checked { sent: 10, received: 9, compared: 1, ..Checked::default() };
        let mut errors = Errors::default();
        assert!(!check_lines(&checked, &errors).contains("deflate"));
        assert!(!check_lines(&checked, &errors).contains("protocol"));
        checked.compressed_connections = 2;
        assert!(check_lines(&checked, &errors).contains("deflate   agreed on 2 connections"));
        assert!(!check_lines(&checked, &errors).contains("WRONG"));
        errors.lost_messages = 1;
        errors.first = Some("connection 3 ended".to_owned());
        assert!(check_lines(&checked, &errors).contains("1 messages lost"));
        assert!(check_lines(&checked, &errors).contains("first: connection 3 ended"));
    }
}
