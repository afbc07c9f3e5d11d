//! The `ringload` binary: parses the command line, runs a mode, prints its report. How load is
//! made is the modes' business; the connections are the engine's.
#![forbid(unsafe_code)]

mod cli;
mod crew;
mod failure;
mod latency;
mod loads;
mod modes;
mod output;
mod pattern;
mod procfs;
mod report;
mod scoreboard;
mod target;

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::cli::{Arguments, Mode};
use crate::failure::Failure;
use crate::report::Outcome;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return cli::report(&error),
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    match run(&arguments.mode) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            output::say_aside(&format!("ringload: {failure}"));
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Runs a mode and tells its result; whether that is sound.
fn run(mode: &Mode) -> Result<bool, Failure> {
    let (outcome, json): (Outcome, Option<&Path>) = match mode {
        Mode::Echo(arguments) => (modes::echo::run(arguments)?, arguments.server.json.as_deref()),
        Mode::Headers(arguments) => {
            (modes::headers::run(arguments)?, arguments.server.json.as_deref())
        }
        Mode::Churn(arguments) => (modes::churn::run(arguments)?, arguments.server.json.as_deref()),
        Mode::Idle(arguments) => (modes::idle::run(arguments)?, arguments.server.json.as_deref()),
        Mode::Fanout(arguments) => {
            (modes::fanout::run(arguments)?, arguments.server.json.as_deref())
        }
        Mode::FuzzingClient(arguments) => {
            (modes::fuzzing_client::run(arguments)?, arguments.json.as_deref())
        }
    };
    if json != Some(Path::new("-")) {
        output::say(&outcome.text);
    }
    if let Some(path) = json {
        output::write_json(path, &outcome.json)?;
    }
    Ok(outcome.sound)
}
