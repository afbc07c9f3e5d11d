//! The `ringsock` program: parses the command line, starts applications, reports errors in one line.
//!
//! A library only so that its configuration can be fuzzed and replayed from outside, without files and
//! sockets; nobody else is meant to build on it.
#![forbid(unsafe_code)]

mod apps;
mod cli;
mod config;
mod log;
mod plan;
mod reload;
mod serve;
mod service;
mod successor;

use std::process::ExitCode;

use clap::Parser;

use apps::Apps;
use cli::{Arguments, Command, ServeArguments};
use plan::Plan;

pub use config::{Configuration, Files, Said};

/// Does what the command line of this process asks for, until it is done.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return cli::report(&error),
    };
    let outcome = match arguments.command {
        Command::Echo(arguments) => serve::serve(&arguments, true),
        Command::Serve(arguments) => serve::serve(&arguments, false),
        Command::CheckConfig(arguments) => check_config(&arguments),
        Command::PrintConfig(arguments) => print_config(&arguments),
        Command::Probe => return probe(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::say_error(&error);
            ExitCode::from(2)
        }
    }
}

fn check_config(arguments: &ServeArguments) -> Result<(), String> {
    let configuration = Configuration::read(&Said::by(arguments)?, &config::from_disk)?;
    let Plan { settings, apps, .. } = Plan::make(configuration)?;
    for variable in &settings.foreign {
        cli::say(&format!("{variable} is left alone: ours are RINGSOCK_SECTION__KEY"));
    }
    let verdict = match apps {
        Apps::Mounted(_) => "good",
        Apps::Echo => "good for 'ringsock echo'; 'ringsock serve' needs an [[app]]",
    };
    cli::say(&format!("{}: {verdict}", settings.file_name()));
    Ok(())
}

fn print_config(arguments: &ServeArguments) -> Result<(), String> {
    let page = Configuration::read(&Said::by(arguments)?, &config::from_disk)?.print();
    cli::say(page.trim_end());
    Ok(())
}

fn probe() -> ExitCode {
    match ringsock::server::probe_ring() {
        Ok(()) => {
            cli::say(
                "io_uring: works (multishot accept and receive, provided buffers, send)\ndriver auto uses: ring",
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            cli::say(&format!(
                "{error}\ndriver auto uses: epoll, unless this is a shortage of memory or descriptors"
            ));
            ExitCode::FAILURE
        }
    }
}
