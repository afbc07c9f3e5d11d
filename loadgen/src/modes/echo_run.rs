//! One run of echoes, closed or open loop: opens the connections, lets messages flow and counts. It
//! reports nothing; echo, headers, search, matrix and compare each do that in their way.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::cli::EngineArguments;
use crate::content::Content;
use crate::crew::{Crew, LoadSize, Loop, Watched};
use crate::failure::{Failure, Phase};
use crate::loads::{EchoPlan, Pace, Paced, PacedPlan, StartingLine, Swarm};
use crate::procfs::ProcessSample;
use crate::report::{Checked, Errors};
use crate::scoreboard::{Scoreboard, Totals};
use crate::target::Target;
use crate::truth::{self, Doubts};
use crate::usage::Window;
use crate::watch::{Recorded, Watch};

/// Messages under way on a connection of an open loop before further ones wait.
const UNDER_WAY_MAX: usize = 1000;

/// What is run.
#[derive(Debug)]
pub(crate) struct EchoWork {
    pub(crate) target: Arc<Target>,
    pub(crate) connections: usize,
    /// Connections opened a second, if that was asked for.
    pub(crate) ramp: Option<usize>,
    pub(crate) content: Content,
    /// Messages under way on each connection.
    pub(crate) pipeline: Option<usize>,
    /// An open loop, if there is one.
    pub(crate) pace: Option<Pace>,
    /// Messages of each connection in all, or as many as there is time for.
    pub(crate) messages: Option<u64>,
}

/// How long a run is and what is looked at besides the messages.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// What is counted: this long, or, if the work has a number of messages, all of them.
    pub(crate) duration: Duration,
    pub(crate) warmup: Duration,
    pub(crate) hold: Duration,
    pub(crate) server: Watched,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) driver: String,
    pub(crate) connections: usize,
    pub(crate) payload_bytes: usize,
    /// Messages under way on each connection; in an open loop the most of them.
    pub(crate) pipeline: usize,
    pub(crate) window: Window,
    pub(crate) recorded: Recorded,
    pub(crate) checked: Checked,
    pub(crate) errors: Errors,
    pub(crate) doubts: Doubts,
    /// Anonymous memory of the server after the hold.
    pub(crate) anon_bytes_after_hold: Option<u64>,
}

impl EchoWork {
    /// Runs it.
    pub(crate) fn run(
        self,
        engine: &EngineArguments,
        span: Span,
        mut watch: Watch,
    ) -> Result<Measured, Failure> {
        let (connections, payload_bytes) = (self.connections, self.content.pattern.payload_bytes());
        let (messages, rate) = (self.messages, self.rate());
        let default = match self.pace {
            Some(_) => UNDER_WAY_MAX.min(LoadSize::pipeline_max(connections, &self.content)),
            None => 1,
        };
        let pipeline = self.pipeline.unwrap_or(default);
        let (crew, line) = self.start(engine, span, pipeline)?;
        let driver = crew.driver();
        let opened = crew.wait_for_open(connections, &mut watch)?;
        let due = messages.map(|messages| messages * opened);
        let window = line.count(&crew, due, span, &mut watch)?;
        crew.drain(|totals| line.is_settled(crew.board(), totals, due));
        let mut anon_bytes_after_hold = None;
        if !span.hold.is_zero() {
            thread::sleep(span.hold);
            if let Some(process) = span.server.process {
                let sample = ProcessSample::of(process).ok();
                anon_bytes_after_hold = sample.map(|sample| sample.anon_bytes);
            }
        }
        let board = crew.end()?;
        let totals = board.totals();
        let recorded = watch.finish(&board);
        let doubts = truth::doubts(&window, rate, &recorded);
        Ok(Measured {
            driver,
            connections,
            payload_bytes,
            pipeline,
            window,
            recorded,
            checked: Checked::of(&board, &totals),
            errors: Errors::new(&board, &totals, due.unwrap_or(totals.sent)),
            doubts,
            anon_bytes_after_hold,
        })
    }

    /// Messages a second, if that was demanded.
    fn rate(&self) -> Option<f64> {
        match self.pace {
            Some(Pace::Rate(rate, _)) => Some(rate),
            _ => None,
        }
    }

    fn start(
        self,
        engine: &EngineArguments,
        span: Span,
        pipeline: usize,
    ) -> Result<(Crew, Line), Failure> {
        let Self { target, connections, ramp, content, pace, messages, .. } = self;
        let load = LoadSize::new(connections, &content, pipeline);
        if let Some(pace) = pace {
            let under_way_max = pipeline;
            let plan = PacedPlan { target, connections, ramp, content, pace, under_way_max };
            let plan = Arc::new(plan);
            let shared = Arc::clone(&plan);
            let crew = Crew::start(engine, &plan.target, span.server, load, move |place| {
                Paced::new(&shared, place)
            })?;
            return Ok((crew, Line::Open));
        }
        let line = StartingLine::default();
        let plan = EchoPlan { target, connections, ramp, content, pipeline, messages, line };
        let plan = Arc::new(plan);
        let shared = Arc::clone(&plan);
        let crew = Crew::start(engine, &plan.target, span.server, load, move |place| {
            Swarm::new(&shared, place)
        })?;
        Ok((crew, Line::Closed(plan)))
    }
}

/// How messages begin to flow.
enum Line {
    Open,
    Closed(Arc<EchoPlan>),
}

impl Line {
    /// Whether nothing is under way any more that could still come.
    fn is_settled(&self, board: &Scoreboard, totals: &Totals, due: Option<u64>) -> bool {
        let come = totals.received + totals.forfeited;
        match self {
            Self::Open => totals.exhausted == board.shards() && come + totals.unsent >= totals.due,
            Self::Closed(_) => come >= due.unwrap_or(totals.sent),
        }
    }

    fn begin(&self, board: &Scoreboard, began_ns: u64) {
        match self {
            Self::Open => board.begin_schedule(began_ns),
            Self::Closed(plan) => {
                let sent = plan.line.begin(&plan.content, began_ns);
                board.add_sent(sent, plan.content.pattern.bytes_of(0));
            }
        }
    }

    fn count(
        &self,
        crew: &Crew,
        due: Option<u64>,
        span: Span,
        watch: &mut Watch,
    ) -> Result<Window, Failure> {
        let Some(due) = due else {
            let pace = if matches!(self, Self::Open) { Loop::Open } else { Loop::Closed };
            return crew.count(pace, (span.warmup, span.duration), watch, |began_ns| {
                self.begin(crew.board(), began_ns);
            });
        };
        watch.begin("measuring", None);
        crew.board().count_between(0, u64::MAX);
        let before = crew.start_counting()?;
        self.begin(crew.board(), crew.board().nanoseconds());
        let settled = |totals: &Totals| self.is_settled(crew.board(), totals, Some(due));
        crew.wait_until(Phase::Echo, watch, settled)?;
        watch.conclude(crew.board());
        Ok(crew.counted_since(&before))
    }
}
