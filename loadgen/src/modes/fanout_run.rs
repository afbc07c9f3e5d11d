//! One fan-out run: opens the subscribers, lets messages be published and counts deliveries. It
//! reports nothing.

use std::sync::Arc;
use std::time::Duration;

use crate::cli::EngineArguments;
use crate::content::Content;
use crate::crew::{Crew, LoadSize, Loop};
use crate::failure::Failure;
use crate::loads::{Audience, Channel, FanoutPlan, Published};
use crate::report::{Checked, Errors};
use crate::schedule::Arrivals;
use crate::target::Target;
use crate::truth;
use crate::usage::Window;
use crate::watch::{Recorded, Watch};

/// Messages of a publisher that an open loop remembers.
const REMEMBERED: usize = 4096;

/// What came of it.
#[derive(Debug)]
pub(crate) struct FanoutMeasured {
    pub(crate) driver: String,
    pub(crate) window: Window,
    pub(crate) recorded: Recorded,
    pub(crate) published: u64,
    /// Subscribers that are due each message.
    pub(crate) audience: usize,
    pub(crate) checked: Checked,
    pub(crate) errors: Errors,
    pub(crate) warnings: Vec<String>,
}

/// What a fan-out run is made from.
#[derive(Debug)]
pub(crate) struct FanoutSetup {
    pub(crate) target: Arc<Target>,
    pub(crate) connections: usize,
    pub(crate) publishers: usize,
    pub(crate) content: Content,
    pub(crate) pipeline: usize,
    pub(crate) rate: Option<(f64, Arrivals)>,
    pub(crate) reaches_self: bool,
    pub(crate) join: Option<String>,
}

impl FanoutSetup {
    /// Its plan, if it makes sense.
    pub(crate) fn plan(self) -> Result<FanoutPlan, Failure> {
        if self.publishers > self.connections {
            return Err(Failure::usage("there are more --publishers than --connections"));
        }
        if self.publishers > 1 && !self.content.pattern.is_numbered() {
            return Err(Failure::usage(
                "messages of several publishers cannot be told apart: give a --payload of 16 \
                 bytes or more, or a --template with {sequence}, and no --trust-peer",
            ));
        }
        let slots = if self.rate.is_some() { REMEMBERED } else { self.pipeline };
        Ok(FanoutPlan {
            target: self.target,
            connections: self.connections,
            channel: Channel::new(self.content, self.publishers, slots),
            rate: self.rate,
            reaches_self: self.reaches_self,
            join: self.join,
        })
    }
}

/// Runs a plan: the warm-up, then what is counted.
pub(crate) fn run(
    plan: FanoutPlan,
    engine: &EngineArguments,
    span: (Duration, Duration),
    server_pid: Option<u32>,
    mut watch: Watch,
) -> Result<FanoutMeasured, Failure> {
    let plan = Arc::new(plan);
    let (connections, channel) = (plan.connections, &plan.channel);
    let load = LoadSize::new(connections, channel.content(), channel.slots());
    let shared = Arc::clone(&plan);
    let crew = Crew::start(engine, &plan.target, server_pid, load, move |place| {
        Audience::new(&shared, place)
    })?;
    let driver = crew.driver();
    crew.wait_for_open(connections, &mut watch)?;
    let pace = if plan.rate.is_some() { Loop::Open } else { Loop::Closed };
    let window = crew.count(pace, span, &mut watch, |began_ns| match pace {
        Loop::Open => crew.board().begin_schedule(began_ns),
        Loop::Closed => publish_first(channel, began_ns),
    })?;
    let audience = plan.audience();
    let due = || channel.published() * audience as u64;
    crew.drain(|totals| totals.received >= due());
    let board = crew.end()?;
    let (totals, recorded) = (board.totals(), watch.finish(&board));
    let warnings = truth::warnings(&window, None, &recorded);
    Ok(FanoutMeasured {
        driver,
        window,
        recorded,
        published: channel.published(),
        audience,
        checked: Checked { sent: channel.published(), ..Checked::of(&totals) },
        errors: Errors::new(&board, &totals, due()),
        warnings,
    })
}

/// Publishes as much as is to be under way.
fn publish_first(channel: &Channel, now_ns: u64) {
    let mut composer = channel.content().composer();
    for publisher in 0..channel.publishers() {
        for _ in 0..channel.slots() {
            let times = Published { due_ns: now_ns, published_ns: now_ns };
            channel.publish(publisher, times, &mut composer);
        }
    }
}
