//! What went over the wire while it was counted: all bytes above TCP, as the engine's shards count
//! them where they send and receive, so over TLS with its records. It adds nothing to what they do.

use ringsock::reports::ShardReport;
use serde::Serialize;

use crate::output::{grouped, mib};
use crate::scoreboard::Totals;

/// What the shards have sent and received until a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WireSample {
    sent: Way,
    received: Way,
}

/// One direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Way {
    bytes: u64,
    messages: u64,
}

impl WireSample {
    /// The sums of all shards; `None` if one of them has not told.
    pub(crate) fn of(reports: &[Option<ShardReport>]) -> Option<Self> {
        let mut all = Self::default();
        for report in reports {
            let counters = report.as_ref()?.counters;
            all.sent.bytes += counters.bytes_sent;
            all.sent.messages += counters.messages_sent;
            all.received.bytes += counters.bytes_received;
            all.received.messages += counters.messages_received;
        }
        Some(all)
    }
}

/// What one direction has carried.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct WayUse {
    pub(crate) bytes: u64,
    /// Those that the same shards have sent, or received, up to the same moments.
    pub(crate) messages: u64,
    pub(crate) bytes_per_message: f64,
    pub(crate) payload_bytes_per_message: f64,
    /// Payload for each byte on the wire: more than 1 where compression gained something.
    pub(crate) payload_to_wire: f64,
}

/// What both have.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct WireUse {
    pub(crate) sent: WayUse,
    pub(crate) received: WayUse,
}

impl WayUse {
    /// `payloads` are messages of the run with the bytes of their payloads together.
    fn new(before: Way, after: Way, payloads: Way) -> Self {
        let (bytes, messages) = (after.bytes - before.bytes, after.messages - before.messages);
        let share = |whole: f64, parts: u64| whole / parts.max(1) as f64;
        let payload_bytes_per_message = share(payloads.bytes as f64, payloads.messages);
        Self {
            bytes,
            messages,
            bytes_per_message: share(bytes as f64, messages),
            payload_bytes_per_message,
            payload_to_wire: share(payload_bytes_per_message * messages as f64, bytes),
        }
    }

    fn text(&self, verb: &str, is_compressed: bool) -> String {
        let gain = match is_compressed {
            true => format!(" (payload {:.2} times that)", self.payload_to_wire),
            false => String::new(),
        };
        let in_all = match self.bytes {
            0..100_000 => format!("{} bytes", grouped(self.bytes as f64)),
            bytes => format!("{} MiB", mib(bytes)),
        };
        format!("{verb} {:.1} bytes a message{gain}, {in_all}", self.bytes_per_message)
    }
}

impl WireUse {
    /// What happened between two moments, for which the counts of the run are known as well: they
    /// tell how long payloads were.
    pub(crate) fn between(before: (&WireSample, &Totals), after: (&WireSample, &Totals)) -> Self {
        let payloads = |bytes: fn(&Totals) -> u64, messages: fn(&Totals) -> u64| {
            let since = |count: fn(&Totals) -> u64| count(after.1) - count(before.1);
            Way { bytes: since(bytes), messages: since(messages) }
        };
        let sent = payloads(|totals| totals.sent_bytes, |totals| totals.sent);
        let received = payloads(|totals| totals.received_bytes, |totals| totals.received);
        Self {
            sent: WayUse::new(before.0.sent, after.0.sent, sent),
            received: WayUse::new(before.0.received, after.0.received, received),
        }
    }
}

/// The line on the wire, with what compression gained if it was agreed.
pub(crate) fn wire_line(wire: Option<&WireUse>, is_compressed: bool) -> String {
    let Some(wire) = wire else { return String::new() };
    let (sent, received) = (&wire.sent, &wire.received);
    let [sent, received] =
        [sent.text("sent", is_compressed), received.text("received", is_compressed)];
    format!("wire      {sent}; {received}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(sent: (u64, u64), received: (u64, u64)) -> WireSample {
        let way = |(bytes, messages)| Way { bytes, messages };
        WireSample { sent: way(sent), received: way(received) }
    }

    #[test]
    fn bytes_are_told_by_the_message_and_beside_the_payload() {
        let before = sample((1_000, 10), (500, 5));
        let after = sample((1_000 + 26 * 100, 110), (500 + 200_000, 105));
        let began = Totals { sent: 7, sent_bytes: 140, ..Totals::default() };
        // The counts of the run were read a little later.
        let ended = Totals {
            sent: 117,
            sent_bytes: 140 + 20 * 110,
            received: 50,
            received_bytes: 50 * 6_000,
            ..began
        };
        let used = WireUse::between((&before, &began), (&after, &ended));
        assert_eq!((used.sent.bytes, used.sent.messages), (2_600, 100));
        assert_eq!(
            (used.sent.bytes_per_message, used.sent.payload_bytes_per_message),
            (26.0, 20.0)
        );
        assert!((used.sent.payload_to_wire - 20.0 / 26.0).abs() < 1e-12);
        assert!((used.received.payload_to_wire - 3.0).abs() < 1e-12);
        let line = wire_line(Some(&used), true);
        assert!(line.contains("sent 26.0 bytes a message (payload 0.77 times that), 2,600 bytes;"));
        assert!(line.ends_with("(payload 3.00 times that), 0.2 MiB\n"), "{line}");
        assert!(!wire_line(Some(&used), false).contains("times"));
    }

    #[test]
    fn nothing_on_the_wire_divides_by_one_and_what_is_not_known_is_not_told() {
        let (nothing, none) = (WireSample::default(), Totals::default());
        let used = WireUse::between((&nothing, &none), (&nothing, &none));
        assert_eq!((used.sent.bytes_per_message, used.sent.payload_to_wire), (0.0, 0.0));
        assert_eq!(wire_line(None, true), "");
        assert_eq!(WireSample::of(&[None]), None);
    }
}
