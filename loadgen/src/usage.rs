//! What the server and this process used between two moments, and what was counted meanwhile. It
//! says nothing about whether that is much.

use std::time::Instant;

use crate::procfs::{ProcessSample, ThreadSample};
use crate::scoreboard::Totals;
use crate::wire::{WireSample, WireUse};

/// Both processes and the counts at one moment.
#[derive(Debug)]
pub(crate) struct Sample {
    pub(crate) server: Option<ProcessSample>,
    pub(crate) client: ProcessSample,
    pub(crate) totals: Totals,
    /// `None` if a shard did not tell.
    pub(crate) wire: Option<WireSample>,
    pub(crate) taken: Instant,
}

/// What a process used in a window.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ProcessUse {
    pub(crate) cpu_ns: u64,
    /// CPU time of the thread that used most.
    pub(crate) busiest_ns: u64,
    /// Time in which the thread that was kept from running most could have run.
    pub(crate) kept_waiting_ns: u64,
    /// The same of the thread that ran or could have run most.
    pub(crate) saturated_ns: u64,
    pub(crate) voluntary_switches: u64,
    pub(crate) involuntary_switches: u64,
    pub(crate) read_write_calls: Option<u64>,
    /// All system calls, where they were counted.
    pub(crate) system_calls: Option<u64>,
    /// At the end of the window.
    pub(crate) rss_bytes: u64,
    /// At the end of the window.
    pub(crate) anon_bytes: u64,
}

impl ProcessUse {
    /// By thread, so that one that ended meanwhile takes away nothing but its own share.
    fn between(before: &ProcessSample, after: &ProcessSample) -> Self {
        let calls = before.read_write_calls.zip(after.read_write_calls);
        let used = |of: fn(&ThreadSample) -> u64| {
            after.threads.iter().map(move |thread| {
                let then = before.threads.iter().find(|known| known.id == thread.id);
                of(thread).saturating_sub(then.map_or(0, of))
            })
        };
        Self {
            cpu_ns: used(|thread| thread.cpu_ns).sum(),
            busiest_ns: used(|thread| thread.cpu_ns).max().unwrap_or(0),
            kept_waiting_ns: used(|thread| thread.kept_waiting_ns).max().unwrap_or(0),
            saturated_ns: used(|thread| thread.cpu_ns + thread.kept_waiting_ns).max().unwrap_or(0),
            voluntary_switches: used(|thread| thread.voluntary_switches).sum(),
            involuntary_switches: used(|thread| thread.involuntary_switches).sum(),
            read_write_calls: calls.map(|(before, after)| after.saturating_sub(before)),
            system_calls: None,
            rss_bytes: after.rss_bytes,
            anon_bytes: after.anon_bytes,
        }
    }
}

/// What happened between two moments.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Window {
    pub(crate) seconds: f64,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) cycles: u64,
    pub(crate) server: Option<ProcessUse>,
    /// The server's process was there at the beginning and not at the end.
    pub(crate) server_ended: bool,
    pub(crate) client: ProcessUse,
    pub(crate) wire: Option<WireUse>,
}

impl Window {
    pub(crate) fn between(before: &Sample, after: &Sample) -> Self {
        let server = before.server.as_ref().zip(after.server.as_ref());
        let wire = before.wire.as_ref().zip(after.wire.as_ref());
        Self {
            seconds: after.taken.duration_since(before.taken).as_secs_f64(),
            sent: after.totals.sent - before.totals.sent,
            received: after.totals.received - before.totals.received,
            cycles: after.totals.cycles - before.totals.cycles,
            server_ended: before.server.is_some() && after.server.is_none(),
            server: server.map(|(before, after)| ProcessUse::between(before, after)),
            client: ProcessUse::between(&before.client, &after.client),
            wire: wire.map(|(first, last)| {
                WireUse::between((first, &before.totals), (last, &after.totals))
            }),
        }
    }

    /// With the server's system calls, if they were counted.
    pub(crate) fn with_system_calls(mut self, calls: Option<u64>) -> Self {
        if let Some(server) = &mut self.server {
            server.system_calls = calls;
        }
        self
    }

    /// The share of the window that a time is.
    pub(crate) fn share(&self, nanoseconds: u64) -> f64 {
        nanoseconds as f64 / 1e9 / self.seconds.max(1e-9)
    }

    /// Received messages a second.
    pub(crate) fn rate(&self) -> f64 {
        self.received as f64 / self.seconds.max(1e-9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_thread_is_found_among_old_and_new_ones() {
        let thread = |id, cpu_ns, kept_waiting_ns| ThreadSample {
            id,
            cpu_ns,
            kept_waiting_ns,
            voluntary_switches: cpu_ns / 10,
            involuntary_switches: 0,
        };
        let sample = |threads| ProcessSample { threads, ..ProcessSample::default() };
        let before = sample(vec![thread(1, 90, 5), thread(2, 10, 0), thread(4, 500, 500)]);
        let after = sample(vec![thread(1, 100, 50), thread(2, 90, 0), thread(3, 60, 0)]);
        let used = ProcessUse::between(&before, &after);
        assert_eq!((used.cpu_ns, used.busiest_ns, used.kept_waiting_ns), (150, 80, 45));
        assert_eq!(used.saturated_ns, 80);
        assert_eq!(used.voluntary_switches, 15);
        assert_eq!(used.read_write_calls, None);
    }
}
