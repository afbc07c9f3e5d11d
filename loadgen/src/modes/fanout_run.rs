//! One fan-out run: opens the subscribers, lets messages be published and counts deliveries. It
//! reports nothing.

use std::sync::Arc;
use std::time::Duration;

use crate::cli::EngineArguments;
use crate::content::Content;
use crate::crew::{Crew, LoadSize, Loop, Watched};
use crate::failure::Failure;
use crate::loads::{Audience, Channel, FanoutPlan, Pace, Published};
use crate::report::{Checked, Errors};
use crate::target::Target;
use crate::truth::{self, Doubts};
use crate::usage::Window;
use crate::watch::{Recorded, Watch};

/// What came of it.
#[derive(Debug)]
pub(crate) struct FanoutMeasured {
    pub(crate) driver: String,
    pub(crate) window: Window,
    pub(crate) recorded: Recorded,
    pub(crate) published: u64,
    /// Deliveries that were due.
    pub(crate) due: u64,
    /// Subscribers that are due each message.
    pub(crate) audience: u64,
    pub(crate) checked: Checked,
    pub(crate) errors: Errors,
    pub(crate) doubts: Doubts,
}

/// What a fan-out run is made from.
#[derive(Debug)]
pub(crate) struct FanoutSetup {
    pub(crate) target: Arc<Target>,
    pub(crate) connections: usize,
    /// Connections opened a second, if that was asked for.
    pub(crate) ramp: Option<usize>,
    pub(crate) publishers: usize,
    pub(crate) content: Content,
    pub(crate) pipeline: usize,
    pub(crate) pace: Option<Pace>,
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
        Ok(FanoutPlan {
            target: self.target,
            connections: self.connections,
            ramp: self.ramp,
            channel: Channel::new(self.content, self.publishers),
            pipeline: self.pipeline,
            pace: self.pace,
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
    server: Watched,
    mut watch: Watch,
) -> Result<FanoutMeasured, Failure> {
    let plan = Arc::new(plan);
    let (connections, channel) = (plan.connections, &plan.channel);
    let load = LoadSize {
        memory_bytes: channel.memory_bytes(connections),
        ..LoadSize::new(connections, channel.content(), channel.queue_messages())
    };
    let shared = Arc::clone(&plan);
    let crew = Crew::start(engine, &plan.target, server, load, move |place| {
        Audience::new(&shared, place)
    })?;
    let driver = crew.driver();
    crew.wait_for_open(connections, &mut watch)?;
    let pace = if plan.pace.is_some() { Loop::Open } else { Loop::Closed };
    let window = crew.count(pace, span, &mut watch, |began_ns| match pace {
        Loop::Open => crew.board().begin_schedule(began_ns),
        Loop::Closed => publish_first(&plan, &crew, began_ns),
    })?;
    crew.drain(|totals| {
        let published = plan.pace.is_none() || totals.exhausted == crew.board().shards();
        published && channel.is_settled()
    });
    let board = crew.end()?;
    let totals = board.totals();
    let mut recorded = watch.finish(&board);
    channel.settle(&board, &mut recorded.readings);
    let doubts = truth::doubts(&window, plan.rate(), &recorded);
    Ok(FanoutMeasured {
        driver,
        window,
        recorded,
        published: channel.published(),
        due: totals.due,
        audience: plan.audience(totals.opened),
        checked: Checked::of(&board, &totals),
        errors: Errors::new(&board, &totals, totals.due),
        doubts,
    })
}

/// Publishes as much as is to be under way.
fn publish_first(plan: &FanoutPlan, crew: &Crew, now_ns: u64) {
    let channel = &plan.channel;
    let mut composer = channel.content().composer();
    for publisher in 0..channel.publishers() {
        for _ in 0..plan.pipeline {
            let times = Published::at(now_ns);
            if let Some(bytes) = channel.publish(publisher, None, times, &mut composer) {
                crew.board().add_sent(1, bytes);
            }
        }
    }
}
