//! The command line. Values are checked by the types they are parsed into; nothing is started
//! here.

mod groups;
mod modes;
mod studies;
mod values;

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use clap_complete::Shell;

pub(crate) use groups::{
    EngineArguments, FanoutOptions, MessageArguments, OpeningArguments, OutputArguments,
    ServerArguments,
};
pub(crate) use modes::{
    ChurnArguments, EchoArguments, FanoutArguments, FuzzingArguments, HeadersArguments,
    IdleArguments,
};
pub(crate) use studies::{
    CompareArguments, LoadKind, MatrixArguments, Raised, SearchArguments, SlowArguments,
};

use crate::output::{say, say_aside};

const EXAMPLES: &str = "\
Examples:
  As many echoes as 256 connections can have, and what they cost the server:
    ringload echo ws://127.0.0.1:9001/ --connections 256 --cores 1 --server-pid 4711
  The latency at a rate, whatever comes back; fails unless it is low and nothing is lost:
    ringload echo ws://127.0.0.1:9001/ --rate 20k --poisson --expect 'p99<5ms,loss=0'
  A server that is started on core 0 for the run and ended after it:
    ringload echo ws://127.0.0.1:9001/ --cores 1 --server-cores 0 \\
      --server-cmd 'ringsock echo --listen 127.0.0.1:9001'
  Broadcasts to 1000 subscribers, 100 messages a second from 4 publishers:
    ringload fanout ws://127.0.0.1:9001/ --connections 1000 --publishers 4 --rate 100
  100,000 connections that are kept open for a minute and pinged every 20 seconds:
    ringload idle ws://127.0.0.1:9001/ --connections 100000 --hold 60 --ping-interval 20
  The highest rate with a p99 under 5 ms, for echoes or --load fanout:
    ringload search ws://127.0.0.1:9001/ --slo 'p99<5ms'
  Two servers in turns, with a page to show around:
    ringload compare ws://127.0.0.1:9001/ ws://127.0.0.1:9002/ --rounds 8 --html compare.html
  Sizes by connections by rates; one client in ten that does not read:
    ringload matrix ws://127.0.0.1:9001/ --payloads 20,16384 --connections 1,256 --rates max,5k
    ringload slow ws://127.0.0.1:9001/ --connections 200 --slow-share 0.1 --server-pid 4711
  Each path through the frame header; connections that come and go; a conformance suite:
    ringload headers ws://127.0.0.1:9001/ --json headers.json
    ringload churn ws://127.0.0.1:9001/ --connections 64
    ringload fuzzing-client ws://127.0.0.1:9001 --agent ringsock

Exit code: 0 when all came back right, 1 when messages were lost or wrong, 2 when the run could not
be made, 3 when an expectation was missed, 130 when it was interrupted.";

/// Loads WebSocket servers and checks what comes back.
#[derive(Debug, Parser)]
#[command(name = "ringload", version, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What can be asked for.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    #[command(flatten)]
    Measure(Box<Mode>),
    /// Print the manual page: ringload man > ~/.local/share/man/man1/ringload.1
    Man,
    /// Print completions for a shell: ringload completions bash >> ~/.bash_completion
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Mode {
    /// Messages sent back: as many as a number under way gives, or as many a second as demanded
    Echo(EchoArguments),
    /// Echoes in each size class of the frame header, in both directions
    Headers(HeadersArguments),
    /// Connect, upgrade, echo, close, over and over
    Churn(ChurnArguments),
    /// Connections that echo one message and then stay: what they cost, and their ping latency
    Idle(IdleArguments),
    /// Some publish, everybody receives: one-way latency, reach, losses, duplicates and order
    Fanout(FanoutArguments),
    /// Beside clients that read slowly or stop: what the others notice
    Slow(SlowArguments),
    /// The highest rate, or number of connections, at which conditions still hold
    Search(SearchArguments),
    /// Echoes or a fan-out with every combination of sizes, connections and rates
    Matrix(MatrixArguments),
    /// Two servers in turns, and how sure the difference is
    Compare(CompareArguments),
    /// Runs every case of a fuzzing server by echoing what it sends
    FuzzingClient(FuzzingArguments),
}

impl Mode {
    /// Where results go.
    pub(crate) fn output(&self) -> &OutputArguments {
        match self {
            Self::Echo(arguments) => &arguments.output,
            Self::Headers(arguments) => &arguments.output,
            Self::Churn(arguments) => &arguments.output,
            Self::Idle(arguments) => &arguments.output,
            Self::Fanout(arguments) => &arguments.output,
            Self::Slow(arguments) => &arguments.output,
            Self::Search(arguments) => &arguments.output,
            Self::Matrix(arguments) => &arguments.output,
            Self::Compare(arguments) => &arguments.output,
            Self::FuzzingClient(arguments) => &arguments.output,
        }
    }

    /// The server, where it is one that can be started.
    pub(crate) fn server(&self) -> Option<&ServerArguments> {
        match self {
            Self::Echo(arguments) => Some(&arguments.server),
            Self::Headers(arguments) => Some(&arguments.server),
            Self::Churn(arguments) => Some(&arguments.server),
            Self::Idle(arguments) => Some(&arguments.server),
            Self::Fanout(arguments) => Some(&arguments.server),
            Self::Slow(arguments) => Some(&arguments.server),
            Self::Search(arguments) => Some(&arguments.server),
            Self::Matrix(arguments) => Some(&arguments.server),
            Self::Compare(arguments) => Some(&arguments.server),
            Self::FuzzingClient(_) => None,
        }
    }

    /// The same, to be changed.
    pub(crate) fn server_mut(&mut self) -> Option<&mut ServerArguments> {
        match self {
            Self::Echo(arguments) => Some(&mut arguments.server),
            Self::Headers(arguments) => Some(&mut arguments.server),
            Self::Churn(arguments) => Some(&mut arguments.server),
            Self::Idle(arguments) => Some(&mut arguments.server),
            Self::Fanout(arguments) => Some(&mut arguments.server),
            Self::Slow(arguments) => Some(&mut arguments.server),
            Self::Search(arguments) => Some(&mut arguments.server),
            Self::Matrix(arguments) => Some(&mut arguments.server),
            Self::Compare(arguments) => Some(&mut arguments.server),
            Self::FuzzingClient(_) => None,
        }
    }
}

/// Help and version are what was asked for; anything else is one line and exit code 2.
pub(crate) fn report(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            say(&error.render().to_string());
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            say_aside(&error.render().to_string());
            ExitCode::from(2)
        }
        _ => {
            let text = error.to_string();
            let lines = text.lines().map(str::trim);
            let first: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
            let first = first.join(" ");
            let message = first.strip_prefix("error: ").unwrap_or(&first);
            say_aside(&format!("ringload: {message}; see ringload --help"));
            ExitCode::from(2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::Verify;

    #[test]
    fn the_definition_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_trusted_peer_is_not_asked_for_anything() {
        let parse = |trust: &[&str]| {
            let words = ["ringload", "echo", "ws://h/", "--verify", "all"];
            let parsed = Arguments::try_parse_from(words.iter().chain(trust)).unwrap();
            let Command::Measure(mode) = parsed.command else { panic!() };
            let Mode::Echo(echo) = *mode else { panic!() };
            let content = echo.message.content(20, &echo.server).unwrap();
            (content.verify, content.pattern.is_numbered(), content.answer_timeout.is_some())
        };
        assert_eq!(parse(&[]), (Verify::All, true, true));
        assert_eq!(parse(&["--trust-peer"]), (Verify::None, false, false));
    }
}
