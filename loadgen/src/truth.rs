//! Whether a result can be believed: a load generator that was busy itself, late or kept from
//! running has measured itself. It changes no number.

use crate::latency::Latencies;
use crate::output::{duration_text, grouped};
use crate::usage::Window;
use crate::watch::Recorded;

/// Share of a core from which on a thread has nothing left to give.
const BUSY: f64 = 0.95;
/// Share of the time that threads may be kept waiting for a core.
const KEPT_WAITING_MAX: f64 = 0.1;
/// How late one message in a hundred may be sent.
const LAG_P99_NS_MAX: u64 = 1_000_000;
/// Share of the median latency that the median lateness may be.
const LAG_SHARE_MAX: f64 = 0.25;
/// Share of the demanded rate that must have been sent, but for chance.
const SENT_MIN: f64 = 0.99;
/// Standard deviations of a Poisson process that are put down to chance.
const DEVIATIONS_MAX: f64 = 3.0;

/// Said where all system calls were counted.
pub(crate) const CALLS_COUNTED: &str = "the server's system calls were counted, which makes each \
    of them slower: its CPU time and the latencies have that in them; compare them only with those \
    of other runs that count";

/// What is to be known before a result is believed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Doubts {
    /// In sentences.
    pub(crate) warnings: Vec<String>,
    /// The load generator had nothing left to give while the server did.
    pub(crate) client_limited: bool,
}

/// Doubts a run in which so many messages a second were demanded, if a rate was.
pub(crate) fn doubts(window: &Window, demanded_rate: Option<f64>, recorded: &Recorded) -> Doubts {
    let mut doubts = Doubts::default();
    if window.server_ended {
        doubts.warn("the server's process ended during the run".to_owned());
    }
    if window.server.is_some_and(|server| server.system_calls.is_some()) {
        doubts.warn(CALLS_COUNTED.to_owned());
    }
    doubts.of_bottleneck(window);
    if let Some(lag) = &recorded.readings.lag {
        doubts.of_lag(lag, &recorded.readings.latency);
    }
    if let Some(rate) = demanded_rate {
        doubts.of_rate(window, rate);
    }
    if recorded.uncompressed > 0 {
        doubts.warn(format!(
            "the server did not agree to --deflate on {} connections: nothing was compressed on them",
            grouped(recorded.uncompressed as f64)
        ));
    }
    if recorded.without_subprotocol > 0 {
        doubts.warn(format!(
            "the server chose none of the subprotocols offered on {} connections: they go on without",
            grouped(recorded.without_subprotocol as f64)
        ));
    }
    if recorded.unanswered > 0 {
        doubts.warn(format!(
            "{} messages had no answer: they count in the latency with their age at the end of the \
             run, which the answers would have exceeded",
            grouped(recorded.unanswered as f64)
        ));
    }
    doubts
}

impl Doubts {
    fn warn(&mut self, warning: String) {
        self.warnings.push(warning);
    }

    /// A thread that runs or waits for a core all the time has nothing left to give.
    fn of_bottleneck(&mut self, window: &Window) {
        let percent = |share: f64| format!("{:.0} %", share.min(1.0) * 100.0);
        let ran = window.share(window.client.busiest_ns);
        let wanted = window.share(window.client.saturated_ns);
        // Where both wait for the same core, neither is the bottleneck.
        let server = window.server.map(|server| window.share(server.saturated_ns));
        if wanted >= BUSY && server.is_none_or(|server| server < BUSY) {
            self.client_limited = true;
            let (verb, known) = match server {
                Some(server) => ("is", format!("the server's wanted {}", percent(server))),
                None => ("may be", "the server's is not known without --server-pid".to_owned()),
            };
            self.warn(format!(
                "the load generator {verb} the bottleneck: its busiest thread used {} of a core and \
                 wanted {}, {known}; give it more cores with --cores, or ask for less",
                percent(ran),
                percent(wanted)
            ));
        }
        let kept = window.share(window.client.kept_waiting_ns).min(1.0);
        if kept > KEPT_WAITING_MAX {
            self.warn(format!(
                "a thread of the load generator waited {} of the time for a core that others used: \
                 latencies are too long by that; see --cores and --server-cores",
                percent(kept)
            ));
        }
    }

    fn of_lag(&mut self, lag: &Latencies, latency: &Latencies) {
        let [late, median] = [lag, latency].map(|all| all.quantile_ns(0.5) as f64);
        if lag.quantile_ns(0.99) > LAG_P99_NS_MAX {
            self.warn(format!(
                "messages were sent late: p99 {} after they were due; latency is measured from when \
                 they were due, so this is in it",
                duration_text(lag.quantile_ns(0.99) as f64)
            ));
        } else if late > median * LAG_SHARE_MAX {
            self.warn(format!(
                "of the median latency of {} the load generator's own lateness is {}: the rest is \
                 the server's and the network's, as in the latency from send",
                duration_text(median),
                duration_text(late)
            ));
        }
    }

    fn of_rate(&mut self, window: &Window, rate: f64) {
        let seconds = window.seconds.max(1e-9);
        let sent_rate = window.sent as f64 / seconds;
        let chance = DEVIATIONS_MAX * (window.sent as f64).sqrt() / seconds;
        if window.seconds > 0.5 && sent_rate + chance < rate * SENT_MIN {
            self.warn(format!(
                "{sent_rate:.0} messages/s were sent, not the {rate:.0} that were demanded: answers \
                 were outstanding, or the load generator could not send more"
            ));
        }
    }
}

/// The same warning of several runs told once, with the first that it holds for.
pub(crate) fn condensed(warnings: Vec<(String, String)>) -> Vec<String> {
    let kind =
        |text: &str| text.chars().filter(|letter| !letter.is_ascii_digit()).collect::<String>();
    let mut kinds: Vec<(String, String, usize)> = Vec::new();
    for (run, text) in warnings {
        match kinds.iter_mut().find(|(_, known, _)| kind(known) == kind(&text)) {
            Some((_, _, more)) => *more += 1,
            None => kinds.push((run, text, 0)),
        }
    }
    let told = |(run, text, more)| match more {
        0 => format!("{run}: {text}"),
        more => format!("{run} and {more} more: {text}"),
    };
    kinds.into_iter().map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::ProcessUse;

    /// What is told of a second in which the client ran and was kept waiting for such shares.
    fn window(client: f64, server: Option<f64>, kept_waiting: f64) -> Window {
        let busy = |share: f64| (share * 1e9) as u64;
        let used = |share| ProcessUse {
            busiest_ns: busy(share),
            saturated_ns: busy(share),
            ..ProcessUse::default()
        };
        let client = ProcessUse {
            kept_waiting_ns: busy(kept_waiting),
            saturated_ns: busy(client + kept_waiting),
            ..used(client)
        };
        let (seconds, sent) = (1.0, 1000);
        Window { seconds, sent, server: server.map(used), client, ..Window::default() }
    }

    fn found(window: &Window, rate: Option<f64>, recorded: &Recorded) -> Vec<&'static str> {
        let words = [
            "is the bottleneck",
            "may be the bottleneck",
            "waited",
            "sent late",
            "own lateness",
            "demanded",
            "did not agree to --deflate on 3 connections",
            "none of the subprotocols offered on 2 connections",
            "had no answer",
            "system calls were counted",
        ];
        let doubts = doubts(window, rate, recorded);
        let told = |word: &&str| doubts.warnings.iter().any(|warning| warning.contains(word));
        let told: Vec<_> = words.into_iter().filter(told).collect();
        assert_eq!(doubts.client_limited, told.iter().any(|word| word.contains("bottleneck")));
        told
    }

    fn late(lag_ns: u64, latency_ns: u64) -> Recorded {
        let mut recorded = Recorded::default();
        recorded.readings.record_lag(lag_ns);
        recorded.readings.latency.record(latency_ns);
        recorded
    }

    #[test]
    fn a_busy_client_is_the_bottleneck_unless_the_server_is_busy_too() {
        let none = Recorded::default();
        assert_eq!(found(&window(0.99, Some(0.6), 0.0), None, &none), ["is the bottleneck"]);
        assert_eq!(found(&window(0.99, None, 0.0), None, &none), ["may be the bottleneck"]);
        assert!(found(&window(0.99, Some(0.99), 0.0), None, &none).is_empty());
        assert!(found(&window(0.5, Some(0.2), 0.05), None, &late(900_000, 9_000_000)).is_empty());
    }

    #[test]
    fn a_client_that_waits_for_a_core_whenever_it_does_not_run_is_the_bottleneck_as_well() {
        let none = Recorded::default();
        let both = ["is the bottleneck", "waited"];
        assert_eq!(found(&window(0.58, Some(0.4), 0.42), None, &none), both);
        assert_eq!(found(&window(0.58, Some(0.4), 0.2), None, &none), ["waited"]);
        let mut shared = window(0.58, Some(0.4), 0.42);
        let server = shared.server.as_mut().unwrap();
        server.saturated_ns = 1_000_000_000;
        assert_eq!(found(&shared, None, &none), ["waited"], "the server waits as well");
    }

    #[test]
    fn what_holds_for_several_runs_is_told_once() {
        let warnings = [("a", "late by 5 ms"), ("b", "late by 12 ms"), ("b", "busy")];
        let warnings = warnings.map(|(run, text)| (run.to_owned(), text.to_owned())).to_vec();
        assert_eq!(condensed(warnings), ["a and 1 more: late by 5 ms", "b: busy"]);
    }

    #[test]
    fn latencies_that_are_known_only_from_below_are_told() {
        let recorded = Recorded { unanswered: 7, ..Recorded::default() };
        assert_eq!(found(&window(0.1, None, 0.0), None, &recorded), ["had no answer"]);
    }

    #[test]
    fn what_counting_costs_is_told() {
        let counted = window(0.1, Some(0.1), 0.0).with_system_calls(Some(5));
        assert_eq!(found(&counted, None, &Recorded::default()), ["system calls were counted"]);
    }

    #[test]
    fn a_server_that_does_not_compress_is_told_apart() {
        let recorded = Recorded { uncompressed: 3, ..Recorded::default() };
        let told = ["did not agree to --deflate on 3 connections"];
        assert_eq!(found(&window(0.1, None, 0.0), None, &recorded), told);
    }

    #[test]
    fn connections_without_a_subprotocol_are_told_where_one_was_offered() {
        let recorded = Recorded { without_subprotocol: 2, ..Recorded::default() };
        let told = ["none of the subprotocols offered on 2 connections"];
        assert_eq!(found(&window(0.1, None, 0.0), None, &recorded), told);
    }

    #[test]
    fn being_late_or_short_of_the_rate_is_told() {
        let (idle, none) = (window(0.1, None, 0.0), Recorded::default());
        assert_eq!(found(&idle, None, &late(2_000_000, 9_000_000)), ["sent late"]);
        assert_eq!(found(&idle, None, &late(22_000, 82_000)), ["own lateness"]);
        assert!(found(&idle, None, &late(22_000, 200_000)).is_empty());
        assert_eq!(found(&idle, Some(1200.0), &none), ["demanded"]);
        assert!(found(&idle, Some(1105.0), &none).is_empty());
    }
}
