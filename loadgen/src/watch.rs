//! Follows a run from the main thread: gathers what the shards have measured, keeps the timeline and
//! shows how far the run is. It steers nothing.

use std::time::{Duration, Instant};

use crate::live_view::{Glimpse, LiveView};
use crate::procfs::ProcessSample;
use crate::readings::Readings;
use crate::scoreboard::{Scoreboard, Totals};
use crate::timeline::Point;

/// Length of an interval of a run that is short, and of one that is not.
const TICKS: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(1)];
/// A run is short up to this.
const SHORT_MAX: Duration = Duration::from_secs(40);

/// What was measured, and when.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    pub(crate) readings: Readings,
    pub(crate) timeline: Vec<Point>,
    /// Latencies among the readings that are known only from below: of messages without an answer.
    pub(crate) unanswered: u64,
    /// Connections on which compression was offered and not agreed.
    pub(crate) uncompressed: u64,
    /// Connections on which subprotocols were offered and none was agreed.
    pub(crate) without_subprotocol: u64,
}

/// The main thread's view of a run.
#[derive(Debug)]
pub(crate) struct Watch {
    view: LiveView,
    server_pid: Option<u32>,
    tick: Duration,
    step: &'static str,
    step_began: Instant,
    step_span: Option<Duration>,
    all: Readings,
    interval: Readings,
    spares: Vec<Readings>,
    timeline: Vec<Point>,
    counting_since: Option<Instant>,
    last: Option<Look>,
}

#[derive(Clone, Copy, Debug)]
struct Look {
    at: Instant,
    totals: Totals,
    server_cpu_ns: Option<u64>,
}

impl Watch {
    /// Follows a run under this name.
    pub(crate) fn new(label: impl Into<String>, server_pid: Option<u32>) -> Self {
        Self {
            view: LiveView::new(label.into()),
            server_pid,
            tick: TICKS[0],
            step: "connecting",
            step_began: Instant::now(),
            step_span: None,
            all: Readings::default(),
            interval: Readings::default(),
            spares: Vec::new(),
            timeline: Vec::new(),
            counting_since: None,
            last: None,
        }
    }

    /// The run now does this, for so long if that is known.
    pub(crate) fn begin(&mut self, step: &'static str, span: Option<Duration>) {
        (self.step, self.step_began, self.step_span) = (step, Instant::now(), span);
        if let Some(span) = span {
            self.tick = TICKS[usize::from(span > SHORT_MAX)];
        }
    }

    /// Looks at the run; gathers and shows something if an interval has passed.
    pub(crate) fn look(&mut self, board: &Scoreboard, totals: &Totals) {
        let at = Instant::now();
        if board.is_counting() && self.counting_since.is_none() {
            self.counting_since = Some(at);
            self.last = Some(self.look_at(at, totals));
        }
        let last = *self.last.get_or_insert(Look { at, totals: *totals, server_cpu_ns: None });
        if at.duration_since(last.at) >= self.tick {
            self.gather(board, totals, at, last);
        }
    }

    /// What was counted ends here: the interval that has begun ends with it, unless it is too short
    /// for a rate.
    pub(crate) fn conclude(&mut self, board: &Scoreboard) {
        let at = Instant::now();
        let begun = self.last.filter(|last| at.duration_since(last.at) >= self.tick / 10);
        if let (Some(last), Some(_)) = (begun, self.counting_since) {
            self.gather(board, &board.totals(), at, last);
        }
    }

    fn gather(&mut self, board: &Scoreboard, totals: &Totals, at: Instant, last: Look) {
        board.harvest(&mut self.interval, &mut self.spares);
        let seconds = at.duration_since(last.at).as_secs_f64();
        let this = self.look_at(at, totals);
        let cpu_ns = this.server_cpu_ns.zip(last.server_cpu_ns);
        let cpu_ns = cpu_ns.map(|(this, last)| this.saturating_sub(last));
        let since = self.counting_since.map_or(0.0, |since| at.duration_since(since).as_secs_f64());
        let interval = &self.interval;
        let (before, latency) =
            (&last.totals, interval.ping.as_deref().unwrap_or(&interval.latency));
        let point = Point::new(since, seconds, before, totals, latency, cpu_ns);
        if board.is_counting() {
            self.timeline.push(point);
        }
        self.view.show(&Glimpse {
            step: self.step,
            passed: self.step_began.elapsed(),
            span: self.step_span,
            totals,
            point: &point,
        });
        self.all.merge(&self.interval);
        self.interval.clear();
        self.last = Some(this);
    }

    fn look_at(&self, at: Instant, totals: &Totals) -> Look {
        let sample = self.server_pid.and_then(|process| ProcessSample::of(process).ok());
        Look { at, totals: *totals, server_cpu_ns: sample.map(|sample| sample.cpu_ns) }
    }

    /// Everything that was measured. What is shown disappears.
    pub(crate) fn finish(mut self, board: &Scoreboard) -> Recorded {
        self.view.clear();
        board.harvest(&mut self.all, &mut self.spares);
        let unanswered = self.all.settle(board.nanoseconds());
        let uncompressed = board.totals().uncompressed;
        let without_subprotocol = board.subprotocols().map_or(0, |all| all.none());
        let (readings, timeline) = (self.all, self.timeline);
        Recorded { readings, timeline, unanswered, uncompressed, without_subprotocol }
    }
}
