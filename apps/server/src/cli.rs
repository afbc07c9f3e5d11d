//! The command line. Values are checked by the types they are parsed into; nothing is started
//! here.

use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use ringsock::{Cores, Driver};

/// WebSocket servers on io_uring, one thread per core.
#[derive(Debug, Parser)]
#[command(name = "ringsock", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sends every message back, at every path; a browser that opens / gets a page that measures.
    Echo(ServeArguments),
    /// Tells whether io_uring works here, by using it.
    Probe,
}

#[derive(Args, Debug)]
pub(crate) struct ServeArguments {
    /// Where to listen, HOST:PORT; may be given more than once.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9001")]
    pub(crate) listen: Vec<String>,
    /// The cores that get a shard each: all, 0,1 or 0-3.
    #[arg(long, value_name = "LIST", default_value = "all")]
    pub(crate) cores: Cores,
    /// auto (io_uring where it works, else epoll), ring or epoll.
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub(crate) driver: Driver,
    /// The smallest buffers and queues possible, to exercise every resume path.
    #[arg(long, hide = true)]
    pub(crate) test_tiny_buffers: bool,
}

/// Prints a line that was asked for.
pub(crate) fn say(line: &str) {
    // A reader that has gone away is no reason to fail.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Prints an error in one line.
pub(crate) fn say_error(message: &str) {
    let _ = writeln!(std::io::stderr(), "ringsock: {message}");
}

/// Help and version are what was asked for; anything else is one line and exit code 2.
pub(crate) fn report(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(2)
        }
        _ => {
            let text = error.to_string();
            let lines = text.lines().map(str::trim);
            let first: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
            let first = first.join(" ");
            let message = first.strip_prefix("error: ").unwrap_or(&first);
            say_error(&format!("{message}; see ringsock --help"));
            ExitCode::from(2)
        }
    }
}
