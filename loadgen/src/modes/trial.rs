//! One run of a study, whatever its load is: echoes or a fan-out, in a closed or an open loop. What
//! its result means is the study's business.

use std::sync::Arc;
use std::time::Duration;

use super::echo_run::{EchoWork, Span};
use super::fanout_run::{self, FanoutSetup};
use crate::cli::{
    EngineArguments, FanoutOptions, LoadKind, MessageArguments, OpeningArguments, ServerArguments,
};
use crate::crew::Watched;
use crate::expect::Figures;
use crate::failure::Failure;
use crate::latency::LatencySummary;
use crate::loads::Pace;
use crate::report::{ClientUse, Errors, ServerUse, Unit, costs};
use crate::target::Target;
use crate::truth::Doubts;
use crate::usage::Window;
use crate::watch::{Recorded, Watch};

/// What all runs of a study have in common.
#[derive(Clone, Debug)]
pub(super) struct Study<'a> {
    pub(super) load: LoadKind,
    pub(super) fanout: &'a FanoutOptions,
    pub(super) server: &'a ServerArguments,
    pub(super) message: &'a MessageArguments,
    pub(super) engine: &'a EngineArguments,
    pub(super) opening: &'a OpeningArguments,
}

/// What is run.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    pub(super) target: Arc<Target>,
    pub(super) connections: usize,
    pub(super) payload: usize,
    /// What makes messages due, unless it is that others have come.
    pub(super) pace: Option<Pace>,
    pub(super) pipeline: Option<usize>,
    /// Not counted, and counted.
    pub(super) warmup: Duration,
    pub(super) duration: Duration,
    pub(super) server: Watched,
    /// What it is called while it runs.
    pub(super) label: String,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Tried {
    pub(super) driver: String,
    pub(super) connections: usize,
    pub(super) payload_bytes: usize,
    pub(super) window: Window,
    pub(super) recorded: Recorded,
    pub(super) errors: Errors,
    pub(super) doubts: Doubts,
    /// Deliveries of those due, of a fan-out.
    pub(super) reach: Option<f64>,
    unit: Unit,
}

impl Study<'_> {
    /// Runs it.
    pub(super) fn run(&self, trial: Trial) -> Result<Tried, Failure> {
        let watch = Watch::new(trial.label.clone(), trial.server.process);
        match self.load {
            LoadKind::Echo => self.echo(trial, watch),
            LoadKind::Fanout => self.fan_out(trial, watch),
        }
    }

    fn echo(&self, trial: Trial, watch: Watch) -> Result<Tried, Failure> {
        let work = EchoWork {
            target: trial.target,
            connections: trial.connections,
            ramp: self.opening.ramp,
            content: self.message.content(trial.payload, self.server)?,
            pipeline: trial.pipeline,
            pace: trial.pace,
            messages: None,
        };
        let span = Span {
            duration: trial.duration,
            warmup: trial.warmup,
            hold: Duration::ZERO,
            server: trial.server,
        };
        let measured = work.run(self.engine, span, watch)?;
        Ok(Tried {
            driver: measured.driver,
            connections: measured.connections,
            payload_bytes: measured.payload_bytes,
            window: measured.window,
            recorded: measured.recorded,
            errors: measured.errors,
            doubts: measured.doubts,
            reach: None,
            unit: Unit::Message,
        })
    }

    fn fan_out(&self, trial: Trial, watch: Watch) -> Result<Tried, Failure> {
        let content = self.message.content(trial.payload, self.server)?;
        let payload_bytes = content.pattern.payload_bytes();
        let setup = FanoutSetup {
            target: trial.target,
            connections: trial.connections,
            ramp: self.opening.ramp,
            publishers: self.fanout.publishers,
            content,
            pipeline: trial.pipeline.unwrap_or(1),
            pace: trial.pace,
            reaches_self: !self.fanout.not_to_self,
            join: self.fanout.join.clone(),
        };
        let span = (trial.warmup, trial.duration);
        let measured = fanout_run::run(setup.plan()?, self.engine, span, trial.server, watch)?;
        Ok(Tried {
            driver: measured.driver,
            connections: trial.connections,
            payload_bytes,
            window: measured.window,
            recorded: measured.recorded,
            errors: measured.errors,
            doubts: measured.doubts,
            reach: Some(measured.checked.received as f64 / measured.due.max(1) as f64),
            unit: Unit::Delivery,
        })
    }
}

impl Tried {
    /// Quantiles of the latency.
    pub(super) fn latency(&self) -> LatencySummary {
        self.recorded.readings.latency.summary()
    }

    /// What both sides used for each message, or delivery.
    pub(super) fn costs(&self) -> (Option<ServerUse>, ClientUse) {
        costs(&self.window, self.unit, self.window.received)
    }

    /// What conditions are held against.
    pub(super) fn figures(&self) -> Figures {
        let figures = Figures::default()
            .with_latency(&self.latency())
            .with_errors(&self.errors)
            .with_server(self.costs().0.as_ref())
            .with("rate", self.window.rate());
        self.reach.map_or(figures.clone(), |reach| figures.with("reach", reach))
    }
}

impl LoadKind {
    /// What is counted.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Echo => "message",
            Self::Fanout => "delivery",
        }
    }

    /// The same, more than one.
    pub(super) fn units(self) -> &'static str {
        match self {
            Self::Echo => "messages",
            Self::Fanout => "deliveries",
        }
    }
}

/// A value as the command line calls it.
pub(super) fn option_name(value: impl clap::ValueEnum) -> String {
    value.to_possible_value().map(|name| name.get_name().to_owned()).unwrap_or_default()
}
