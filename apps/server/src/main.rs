//! The `ringsock` binary: parses the command line, starts an application, reports errors in one
//! line.
#![forbid(unsafe_code)]

mod cli;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use ringsock::{Server, SetupError};
use tracing_subscriber::EnvFilter;

use cli::{Arguments, Command, ServeArguments};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return cli::report(&error),
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    let outcome = match arguments.command {
        Command::Echo(arguments) => echo(arguments),
        Command::Probe => return probe(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::say_error(&error.to_string());
            ExitCode::from(2)
        }
    }
}

fn echo(arguments: ServeArguments) -> Result<(), SetupError> {
    let mut server =
        ringsock_echo::configure(Server::builder()).cores(arguments.cores).driver(arguments.driver);
    if arguments.test_tiny_buffers {
        server = server.tiny_buffers();
    }
    for address in &arguments.listen {
        server = server.listen(address)?;
    }
    server.serve(|_shard| ringsock_echo::Echo)
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
