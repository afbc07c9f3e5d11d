//! The `ringload` binary: parses the command line, runs a mode, publishes its result. How load is
//! made is the modes' business; the connections are the engine's.
#![forbid(unsafe_code)]

mod alarm;
mod attendance;
mod chance;
mod cli;
mod composer;
mod content;
mod crew;
mod exhibit;
mod expect;
mod failure;
mod hgrm;
mod interrupt;
mod latency;
mod live_view;
mod loads;
mod manual;
mod modes;
mod output;
mod page;
mod pattern;
mod precheck;
mod procfs;
mod readings;
mod report;
mod results;
mod schedule;
mod scoreboard;
mod server_process;
mod stamp;
mod statistics;
mod subprotocols;
mod system_calls;
mod table;
mod table_csv;
mod target;
mod template;
mod think;
mod timeline;
mod truth;
mod usage;
mod watch;
mod wire;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::cli::{Arguments, Command, Mode};
use crate::failure::Failure;
use crate::report::Outcome;
use crate::server_process::ServerProcess;

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
    let outcome = match arguments.command {
        Command::Man => manual::print_page().map(|()| 0),
        Command::Completions { shell } => {
            manual::print_completions(shell);
            Ok(0)
        }
        Command::Measure(mode) => run(*mode),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            output::say_aside(&format!("ringload: {failure}"));
            ExitCode::from(failure.exit_code())
        }
    }
}

/// Runs a mode and publishes its result; the exit code.
fn run(mut mode: Mode) -> Result<u8, Failure> {
    precheck::check(&mode)?;
    interrupt::watch()?;
    let server = start_server(&mut mode)?;
    let outcome = measure(&mode)?;
    drop(server);
    results::publish(&outcome, mode.output())
}

/// Starts the server if that was asked for, and has it watched.
fn start_server(mode: &mut Mode) -> Result<Option<ServerProcess>, Failure> {
    let Some(arguments) = mode.server_mut() else { return Ok(None) };
    let Some(command) = &arguments.server_cmd else { return Ok(None) };
    let address = arguments.target()?.address();
    let server = ServerProcess::start(command, arguments.server_cores.as_ref(), address)?;
    arguments.server_pid = Some(server.id());
    Ok(Some(server))
}

fn measure(mode: &Mode) -> Result<Outcome, Failure> {
    match mode {
        Mode::Echo(arguments) => modes::echo::run(arguments),
        Mode::Headers(arguments) => modes::headers::run(arguments),
        Mode::Churn(arguments) => modes::churn::run(arguments),
        Mode::Idle(arguments) => modes::idle::run(arguments),
        Mode::Fanout(arguments) => modes::fanout::run(arguments),
        Mode::Slow(arguments) => modes::slow::run(arguments),
        Mode::Search(arguments) => modes::search::run(arguments),
        Mode::Matrix(arguments) => modes::matrix::run(arguments),
        Mode::Compare(arguments) => modes::compare::run(arguments),
        Mode::FuzzingClient(arguments) => modes::fuzzing_client::run(arguments),
    }
}
