//! The `ringsock` binary: parses the command line, starts applications, reports errors in one line.
#![forbid(unsafe_code)]

mod apps;
mod cli;
mod config;
mod log;
mod reload;
mod serve;
mod service;

use std::net::ToSocketAddrs;
use std::process::ExitCode;

use clap::Parser;

use apps::Apps;
use cli::{Arguments, Command, ServeArguments};
use config::{Config, Settings};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
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

/// The applications of a configuration; echo for one that mounts none.
fn apps_of(settings: &Settings) -> Result<Apps, String> {
    match settings.mounts() {
        mounts if mounts.is_empty() => Ok(Apps::Echo),
        mounts => Apps::mounted(mounts, &settings.file_name()),
    }
}

fn check_config(arguments: &ServeArguments) -> Result<(), String> {
    let settings = config::gather(arguments)?;
    let config = Config::read(&settings, &apps_of(&settings)?.limits())?;
    config.tls.as_ref().map(|files| files.load()).transpose()?;
    for address in config.listen_or_default().iter().chain(&config.admin) {
        if address.starts_with("unix:") {
            continue;
        }
        let resolved = address.to_socket_addrs().map(|mut addresses| addresses.next());
        if !matches!(resolved, Ok(Some(_))) {
            return Err(format!(
                "'{address}' is no address: give HOST:PORT or unix:/PATH, as in 127.0.0.1:9001"
            ));
        }
    }
    for variable in &settings.foreign {
        cli::say(&format!("{variable} is left alone: ours are RINGSOCK_SECTION__KEY"));
    }
    cli::say(&format!("{}: good", settings.file_name()));
    Ok(())
}

fn print_config(arguments: &ServeArguments) -> Result<(), String> {
    let settings = config::gather(arguments)?;
    let page = config::print(&settings, &apps_of(&settings)?.limits())?;
    cli::say(page.trim_end());
    Ok(())
}

fn probe() -> ExitCode {
    match ringsock::probe_ring() {
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
