//! The command line. Values are checked by the types they are parsed into; nothing is started
//! here.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use ringsock::protocol::MessageKind;
use ringsock::{Cores, Driver, MIB};

use crate::output::{say, say_aside};
use crate::pattern::Verify;

const EXAMPLES: &str = "\
Examples:
  ringload echo ws://127.0.0.1:9001/ --connections 256 --pipeline 16 --cores 1 --server-pid 4711
  ringload echo ws://127.0.0.1:9001/ --connections 16 --payload 1048576 --verify all --json echo.json
  ringload headers ws://127.0.0.1:9001/ --seconds-per-row 3
  ringload churn ws://127.0.0.1:9001/ --connections 64
  ringload idle ws://127.0.0.1:9001/ --connections 10000 --hold 60 --server-pid 4711
  ringload fanout ws://127.0.0.1:9001/ --connections 1000 --payload 100
  ringload fuzzing-client ws://127.0.0.1:9001 --agent ringsock

Exit code: 0 when all came back right, 1 when messages were lost or wrong, 2 when the run could not
be made.";

/// Loads WebSocket servers and checks what comes back.
#[derive(Debug, Parser)]
#[command(name = "ringload", version, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) mode: Mode,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Mode {
    /// Messages sent back: as many as the server can, a fixed number under way on each connection
    Echo(EchoArguments),
    /// Echoes in each size class of the frame header, in both directions
    Headers(HeadersArguments),
    /// Connect, upgrade, echo, close, over and over
    Churn(ChurnArguments),
    /// Connections that echo one message and then stay: what they cost in memory
    Idle(IdleArguments),
    /// One publisher, everybody receives: deliveries, their latency and whether all were reached
    Fanout(FanoutArguments),
    /// Runs every case of a fuzzing server by echoing what it sends
    FuzzingClient(FuzzingArguments),
}

/// The server and where results go.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServerArguments {
    /// The server's address: ws://HOST:PORT/PATH
    pub(crate) url: String,
    /// Process id of the server, on this machine: its CPU time, memory and context switches are
    /// told as well
    #[arg(long, value_name = "PID")]
    pub(crate) server_pid: Option<u32>,
    /// Take any answer for a valid handshake and any bytes of the right length for an echo: for
    /// raw servers that answer with canned bytes
    #[arg(long)]
    pub(crate) trust_peer: bool,
    /// Write the result as JSON to this file; - is standard output, without the text
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// The engine that makes the load.
#[derive(Args, Clone, Debug)]
pub(crate) struct EngineArguments {
    /// The cores that make load: all, 0,1 or 0-3
    #[arg(long, value_name = "LIST", default_value = "all")]
    pub(crate) cores: Cores,
    /// auto (io_uring where it works, else epoll), ring or epoll
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub(crate) driver: Driver,
}

/// What messages are made of and how they are checked.
#[derive(Args, Clone, Debug)]
pub(crate) struct MessageArguments {
    /// Text messages
    #[arg(long, conflicts_with = "binary")]
    text: bool,
    /// Binary messages; the default
    #[arg(long)]
    binary: bool,
    /// How much of what comes back is compared with what was sent
    #[arg(long, value_enum, default_value_t = Verify::Sample)]
    verify: Verify,
}

impl MessageArguments {
    /// Text or binary.
    pub(crate) fn kind(&self) -> MessageKind {
        if self.text { MessageKind::Text } else { MessageKind::Binary }
    }

    /// How much is compared: nothing when the peer is to be trusted.
    pub(crate) fn verify(&self, server: &ServerArguments) -> Verify {
        if server.trust_peer { Verify::None } else { self.verify }
    }
}

#[derive(Args, Clone, Debug)]
pub(crate) struct EchoArguments {
    #[command(flatten)]
    pub(crate) server: ServerArguments,
    #[command(flatten)]
    pub(crate) engine: EngineArguments,
    #[command(flatten)]
    pub(crate) message: MessageArguments,
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = positive)]
    pub(crate) connections: usize,
    /// Bytes of payload in each message
    #[arg(long, value_name = "BYTES", default_value_t = 20, value_parser = payload)]
    pub(crate) payload: usize,
    /// Messages under way on each connection
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    pub(crate) pipeline: usize,
    /// Seconds that are counted
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) duration: Duration,
    /// Seconds before those, under load and not counted
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(crate) warmup: Duration,
    /// Messages on each connection, all of them counted, instead of a duration
    #[arg(long, value_name = "N", conflicts_with_all = ["duration", "warmup"],
        value_parser = clap::value_parser!(u64).range(1..=1 << 40))]
    pub(crate) messages: Option<u64>,
    /// Seconds to keep the connections open afterwards, without load
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    pub(crate) hold: Duration,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct HeadersArguments {
    #[command(flatten)]
    pub(crate) server: ServerArguments,
    #[command(flatten)]
    pub(crate) engine: EngineArguments,
    #[command(flatten)]
    pub(crate) message: MessageArguments,
    /// Connections; fewer for the largest payloads
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = positive)]
    pub(crate) connections: usize,
    /// Messages under way on each connection
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    pub(crate) pipeline: usize,
    /// Seconds that are counted for each payload
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub(crate) seconds_per_row: Duration,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct ChurnArguments {
    #[command(flatten)]
    pub(crate) server: ServerArguments,
    #[command(flatten)]
    pub(crate) engine: EngineArguments,
    #[command(flatten)]
    pub(crate) message: MessageArguments,
    /// Connections under way at once
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = positive)]
    pub(crate) connections: usize,
    /// Bytes of payload in each message
    #[arg(long, value_name = "BYTES", default_value_t = 20, value_parser = payload)]
    pub(crate) payload: usize,
    /// Messages echoed on each connection before it is closed
    #[arg(long, value_name = "N", default_value_t = 1,
        value_parser = clap::value_parser!(u64).range(1..=1 << 40))]
    pub(crate) messages: u64,
    /// Seconds that are counted
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) duration: Duration,
    /// Seconds before those, under load and not counted
    #[arg(long, value_name = "SECONDS", default_value = "0.5", value_parser = seconds)]
    pub(crate) warmup: Duration,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct IdleArguments {
    #[command(flatten)]
    pub(crate) server: ServerArguments,
    #[command(flatten)]
    pub(crate) engine: EngineArguments,
    #[command(flatten)]
    pub(crate) message: MessageArguments,
    /// Connections
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) connections: usize,
    /// Bytes of payload in the one message of each
    #[arg(long, value_name = "BYTES", default_value_t = 20, value_parser = payload)]
    pub(crate) payload: usize,
    /// Seconds to keep them open once all are there
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(crate) hold: Duration,
    /// Connections opened a second; as fast as the server answers without it
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) ramp: Option<usize>,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct FanoutArguments {
    #[command(flatten)]
    pub(crate) server: ServerArguments,
    #[command(flatten)]
    pub(crate) engine: EngineArguments,
    #[command(flatten)]
    pub(crate) message: MessageArguments,
    /// Subscribers, the publisher among them
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = positive)]
    pub(crate) connections: usize,
    /// Bytes of payload in each message; from 16 on they carry the sequence number that is checked
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = payload)]
    pub(crate) payload: usize,
    /// Messages under way: published and not yet received by everybody
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    pub(crate) pipeline: usize,
    /// Seconds that are counted
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) duration: Duration,
    /// Seconds before those, under load and not counted
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(crate) warmup: Duration,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct FuzzingArguments {
    /// The fuzzing server's address: ws://HOST:PORT
    pub(crate) url: String,
    /// The name under which the server reports
    #[arg(long, value_name = "NAME", default_value = "ringsock")]
    pub(crate) agent: String,
    #[command(flatten)]
    pub(crate) engine: EngineArguments,
    /// Write the result as JSON to this file; - is standard output, without the text
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "give a number of seconds".to_owned())?;
    if !(0.0..=86_400.0).contains(&number) {
        return Err("give 0 to 86400 seconds".to_owned());
    }
    Ok(Duration::from_secs_f64(number))
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=10_000_000) => Ok(number),
        _ => Err("give a whole number from 1 to 10000000".to_owned()),
    }
}

fn payload(text: &str) -> Result<usize, String> {
    const PAYLOAD_BYTES_MAX: usize = 64 * MIB;
    match text.parse() {
        Ok(bytes @ 0..=PAYLOAD_BYTES_MAX) => Ok(bytes),
        _ => Err(format!("give a number of bytes up to {PAYLOAD_BYTES_MAX}")),
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

    #[test]
    fn the_definition_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn values_out_of_range_are_refused() {
        assert!(seconds("-1").is_err() && seconds("x").is_err() && seconds("NaN").is_err());
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert!(positive("0").is_err() && positive("1").is_ok());
        assert!(payload("67108865").is_err() && payload("67108864").is_ok());
    }

    #[test]
    fn a_trusted_peer_is_not_verified() {
        let parse = |trust: &[&str]| {
            let words = ["ringload", "echo", "ws://h/", "--verify", "all"];
            let parsed = Arguments::try_parse_from(words.iter().chain(trust)).unwrap();
            let Mode::Echo(echo) = parsed.mode else { panic!() };
            echo.message.verify(&echo.server)
        };
        assert_eq!(parse(&[]), Verify::All);
        assert_eq!(parse(&["--trust-peer"]), Verify::None);
    }
}
