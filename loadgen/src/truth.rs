//! Whether a result can be believed: a load generator that was busy itself, late or kept from
//! running has measured itself. It changes no number.

use crate::output::{duration_text, grouped};
use crate::usage::Window;
use crate::watch::Recorded;

/// Share of a core from which on a thread has nothing left to give.
const BUSY: f64 = 0.95;
/// Share of the time that threads may be kept waiting for a core.
const KEPT_WAITING_MAX: f64 = 0.1;
/// How late one message in a hundred may be sent.
const LAG_P99_NS_MAX: u64 = 1_000_000;
/// Share of the demanded rate that must have been sent, but for chance.
const SENT_MIN: f64 = 0.99;
/// Standard deviations of a Poisson process that are put down to chance.
const DEVIATIONS_MAX: f64 = 3.0;

/// What is to be known before a result is believed, in sentences.
pub(crate) fn warnings(
    window: &Window,
    demanded_rate: Option<f64>,
    recorded: &Recorded,
) -> Vec<String> {
    let mut warnings = Vec::new();
    if window.server_ended {
        warnings.push("the server's process ended during the run".to_owned());
    }
    let client = window.share(window.client.busiest_ns);
    let server = window.server.map(|server| window.share(server.busiest_ns));
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    match server {
        Some(server) if client >= BUSY && server < BUSY => warnings.push(format!(
            "the load generator is the bottleneck: its busiest thread used {} of a core, the \
             server's {}; give it more cores with --cores, or ask for less",
            percent(client),
            percent(server)
        )),
        None if client >= BUSY => warnings.push(format!(
            "the load generator may be the bottleneck: its busiest thread used {} of a core; \
             --server-pid would show whether the server was busy too",
            percent(client)
        )),
        _ => {}
    }
    let kept = window.share(window.client.kept_waiting_ns).min(1.0);
    if kept > KEPT_WAITING_MAX {
        warnings.push(format!(
            "a thread of the load generator waited {} of the time for a core that others used: \
             latencies are too long by that; see --cores and --server-cores",
            percent(kept)
        ));
    }
    if let Some(lag) = &recorded.readings.lag
        && lag.quantile_ns(0.99) > LAG_P99_NS_MAX
    {
        warnings.push(format!(
            "messages were sent late: p99 {} after they were due; latency is measured from when \
             they were due, so this is in it",
            duration_text(lag.quantile_ns(0.99) as f64)
        ));
    }
    let sent_rate = window.sent as f64 / window.seconds.max(1e-9);
    let chance = DEVIATIONS_MAX * (window.sent as f64).sqrt() / window.seconds.max(1e-9);
    if let Some(rate) = demanded_rate
        && window.seconds > 0.5
        && sent_rate + chance < rate * SENT_MIN
    {
        warnings.push(format!(
            "{sent_rate:.0} messages/s were sent, not the {rate:.0} that were demanded: answers \
             were outstanding, or the load generator could not send more"
        ));
    }
    if recorded.unanswered > 0 {
        warnings.push(format!(
            "{} messages had no answer: they count in the latency with their age at the end of the \
             run, which the answers would have exceeded",
            grouped(recorded.unanswered as f64)
        ));
    }
    warnings
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

    fn window(client: f64, server: Option<f64>, kept_waiting: f64) -> Window {
        let busy = |share: f64| (share * 1e9) as u64;
        let used = |share| ProcessUse { busiest_ns: busy(share), ..ProcessUse::default() };
        Window {
            seconds: 1.0,
            sent: 1000,
            server: server.map(used),
            client: ProcessUse { kept_waiting_ns: busy(kept_waiting), ..used(client) },
            ..Window::default()
        }
    }

    fn found(window: &Window, rate: Option<f64>, lag_ns: u64) -> Vec<&'static str> {
        found_with(window, rate, lag_ns, 0)
    }

    fn found_with(
        window: &Window,
        rate: Option<f64>,
        lag_ns: u64,
        unanswered: u64,
    ) -> Vec<&'static str> {
        let mut recorded = Recorded { unanswered, ..Recorded::default() };
        recorded.readings.record_lag(lag_ns);
        let words = [
            "is the bottleneck",
            "may be the bottleneck",
            "waited",
            "sent late",
            "demanded",
            "had no answer",
        ];
        let warnings = warnings(window, rate, &recorded);
        let told = |word: &&str| warnings.iter().any(|warning| warning.contains(word));
        words.into_iter().filter(told).collect()
    }

    #[test]
    fn a_busy_client_is_the_bottleneck_unless_the_server_is_busy_too() {
        assert_eq!(found(&window(0.99, Some(0.6), 0.0), None, 0), ["is the bottleneck"]);
        assert_eq!(found(&window(0.99, None, 0.0), None, 0), ["may be the bottleneck"]);
        assert!(found(&window(0.99, Some(0.99), 0.0), None, 0).is_empty());
        assert!(found(&window(0.5, Some(0.2), 0.05), None, 900_000).is_empty());
    }

    #[test]
    fn what_holds_for_several_runs_is_told_once() {
        let warnings = [("a", "late by 5 ms"), ("b", "late by 12 ms"), ("b", "busy")];
        let warnings = warnings.map(|(run, text)| (run.to_owned(), text.to_owned())).to_vec();
        assert_eq!(condensed(warnings), ["a and 1 more: late by 5 ms", "b: busy"]);
    }

    #[test]
    fn latencies_that_are_known_only_from_below_are_told() {
        assert_eq!(found_with(&window(0.1, None, 0.0), None, 0, 7), ["had no answer"]);
    }

    #[test]
    fn being_late_kept_waiting_or_short_of_the_rate_is_told() {
        assert_eq!(found(&window(0.1, None, 0.2), None, 0), ["waited"]);
        assert_eq!(found(&window(0.1, None, 0.0), None, 2_000_000), ["sent late"]);
        assert_eq!(found(&window(0.1, None, 0.0), Some(1200.0), 0), ["demanded"]);
        assert!(found(&window(0.1, None, 0.0), Some(1105.0), 0).is_empty());
    }
}
