//! The conformance client: is led through its cases by a fuzzing server, one at a time. Whether it
//! behaved is in the server's report, not here.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use ringsock::MIB;
use serde::Serialize;

use crate::cli::FuzzingArguments;
use crate::crew::{Crew, LoadSize, Watched};
use crate::failure::{Failure, Phase};
use crate::loads::{FuzzedClient, Progress};
use crate::output::grouped;
use crate::report::Outcome;
use crate::target::{Greeting, Target, Trust};
use crate::watch::Watch;

/// Connections that may end while others begin.
const CONNECTIONS_MAX: usize = 16;
/// What may wait to be sent: a case sends thousands of messages before it reads.
const QUEUE_BYTES_MAX: usize = 256 * MIB;

/// The JSON form.
#[derive(Debug, Serialize)]
struct FuzzingReport {
    mode: &'static str,
    url: String,
    agent: String,
    driver: String,
    cases: u32,
    unopened: u32,
    messages: u64,
    seconds: f64,
    first_fault: Option<String>,
}

/// Runs the mode.
pub(crate) fn run(arguments: &FuzzingArguments) -> Result<Outcome, Failure> {
    let greeting = Greeting { deflate: arguments.compression.deflate, ..Greeting::default() };
    let target = Target::parse(&arguments.url, Trust::Nothing, greeting)?;
    let progress = Arc::new(Progress::default());
    let load = LoadSize {
        connections: CONNECTIONS_MAX,
        queue_bytes: QUEUE_BYTES_MAX,
        memory_bytes: CONNECTIONS_MAX * QUEUE_BYTES_MAX,
        mailbox_messages: 0,
        silence_max: None,
    };
    let (agent, server, shared) = (arguments.agent.clone(), target.clone(), Arc::clone(&progress));
    let mut watch = Watch::new("fuzzing-client", None);
    let began = Instant::now();
    let crew = Crew::start(&arguments.engine, &target, Watched::default(), load, move |place| {
        FuzzedClient::new(&server, &agent, &shared, place)
    })?;
    let driver = crew.driver();
    crew.wait_until(Phase::Echo, &mut watch, |totals| totals.cycles > 0)?;
    let board = crew.end()?;
    watch.finish(&board);
    let report = FuzzingReport {
        mode: "fuzzing-client",
        url: target.url(),
        agent: arguments.agent.clone(),
        driver,
        cases: progress.cases.load(Ordering::Relaxed),
        unopened: progress.unopened.load(Ordering::Relaxed),
        messages: board.totals().received,
        seconds: began.elapsed().as_secs_f64(),
        first_fault: board.first_fault(),
    };
    let mut text = format!(
        "{}: {} cases run as {}, {} messages, {:.1} s, driver {}\n",
        report.url,
        report.cases - report.unopened,
        report.agent,
        grouped(report.messages as f64),
        report.seconds,
        report.driver
    );
    if let Some(fault) = &report.first_fault {
        text +=
            &format!("WRONG     {} cases could not be opened; first: {fault}\n", report.unopened);
    }
    let sound = report.unopened == 0;
    Ok(Outcome::new(&report, text, sound))
}
