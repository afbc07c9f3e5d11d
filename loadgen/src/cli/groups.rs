//! Options that several modes share, and what is made from them. Nothing is started here.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use ringsock::protocol::MessageKind;
use ringsock::{Cores, Deflate, Driver};

use super::values::{header, positive, rate, timeout};
use crate::content::Content;
use crate::crew::Watched;
use crate::expect::Expectation;
use crate::failure::Failure;
use crate::loads::Pace;
use crate::pattern::{Pattern, Verify};
use crate::schedule::Arrivals;
use crate::target::{Greeting, Target, Trust};
use crate::template::Template;
use crate::think::Think;

/// The server, how connections greet it, and how it is watched.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServerArguments {
    /// The server's address: ws://HOST:PORT/PATH, or wss:// with a certificate that the system trusts
    /// (or SSL_CERT_FILE names)
    pub(crate) url: String,
    /// Process id of the server, on this machine: its CPU time, memory, context switches and calls
    /// are told as well
    #[arg(long, value_name = "PID", help_heading = "Server")]
    pub(crate) server_pid: Option<u32>,
    /// Start the server with this command, watch it as with --server-pid and end it afterwards
    #[arg(long, value_name = "COMMAND", conflicts_with = "server_pid", help_heading = "Server")]
    pub(crate) server_cmd: Option<String>,
    /// The cores that --server-cmd may use
    #[arg(long, value_name = "LIST", requires = "server_cmd", help_heading = "Server")]
    pub(crate) server_cores: Option<Cores>,
    /// Count all system calls of the server in the time that is counted, with perf, which has to be
    /// installed and allowed. A tracepoint makes each call a little slower: the server's CPU time and
    /// the latencies have that in them. With --server-pid or --server-cmd
    #[arg(long, help_heading = "Server")]
    pub(crate) count_system_calls: bool,
    /// Take any answer for a valid handshake and any bytes of the right length for an echo: for
    /// raw servers that answer with canned bytes. With wss:// also any certificate
    #[arg(long, help_heading = "Server")]
    pub(crate) trust_peer: bool,
    /// With wss:// take any certificate, such as one that the server has issued itself; what comes
    /// back is compared all the same
    #[arg(long, help_heading = "Server")]
    insecure: bool,
    /// Send this header in every handshake; {connection} and {token} are replaced
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = header, help_heading = "Handshake")]
    headers: Vec<(String, String)>,
    #[command(flatten)]
    compression: CompressionArguments,
    /// Offer this subprotocol, or several with an option for each; what the server chose on how many
    /// connections is told
    #[arg(long = "subprotocol", value_name = "NAME", help_heading = "Handshake")]
    subprotocols: Vec<String>,
    /// A file with a token on each line; connections take them in turns, as bearer tokens or where
    /// a header or the address says {token}
    #[arg(long, value_name = "FILE", help_heading = "Handshake")]
    token_file: Option<PathBuf>,
}

impl ServerArguments {
    /// Looks the server up.
    pub(crate) fn target(&self) -> Result<Target, Failure> {
        self.target_of(&self.url)
    }

    /// Looks another server up, to be greeted in the same way.
    pub(crate) fn target_of(&self, url: &str) -> Result<Target, Failure> {
        let greeting = Greeting {
            headers: self.headers.clone(),
            subprotocols: self.subprotocols.clone(),
            deflate: self.compression.deflate,
            tokens: self.token_file.as_deref().map(tokens).transpose()?.unwrap_or_default(),
        };
        let trust = match (self.trust_peer, self.insecure) {
            (true, _) => Trust::Everything,
            (false, true) => Trust::Certificate,
            (false, false) => Trust::Nothing,
        };
        Target::parse(url, trust, greeting)
    }

    /// What is watched of the server's process.
    pub(crate) fn watched(&self) -> Watched {
        Watched { process: self.server_pid, counts_calls: self.count_system_calls }
    }

    /// Whether the server's process is watched.
    pub(crate) fn is_watched(&self) -> bool {
        self.server_pid.is_some() || self.server_cmd.is_some()
    }
}

/// Compression offered to the server.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct CompressionArguments {
    /// Offer permessage-deflate; settings after = and separated by commas: takeover or no-takeover
    /// (the default), window=BITS, threshold=BYTES
    #[arg(long, value_name = "SETTINGS", num_args = 0..=1, require_equals = true,
        default_missing_value = "no-takeover", help_heading = "Handshake")]
    pub(crate) deflate: Option<Deflate>,
}

fn tokens(path: &Path) -> Result<Vec<String>, Failure> {
    let text = fs::read_to_string(path);
    let text =
        text.map_err(|error| Failure::usage(format!("--token-file {}: {error}", path.display())))?;
    let tokens: Vec<String> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    match tokens.is_empty() {
        true => Err(Failure::usage(format!("--token-file {}: there is none", path.display()))),
        false => Ok(tokens),
    }
}

/// Where results go and what they have to be.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Results")]
pub(crate) struct OutputArguments {
    /// Write the result as JSON to this file, with the histograms of latencies; - is standard output,
    /// without the text
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the run over time, or the rows of a table, as CSV
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
    /// Write the latencies in the percentile format of HdrHistogram; those from when messages were
    /// really sent, of an open loop, go into a second file, -from-sent behind its name
    #[arg(long, value_name = "FILE")]
    pub(crate) hgrm: Option<PathBuf>,
    /// Write a page with charts, whole in one file
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// End with exit code 3 unless this holds, such as p99<5ms,loss=0
    #[arg(long, value_name = "CONDITIONS")]
    pub(crate) expect: Option<Expectation>,
}

/// The engine that makes the load.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Load generator")]
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
#[command(next_help_heading = "Messages")]
pub(crate) struct MessageArguments {
    /// Text messages
    #[arg(long, conflicts_with = "binary")]
    text: bool,
    /// Binary messages; the default
    #[arg(long)]
    binary: bool,
    /// Send the bytes of this file, instead of generated ones; several files take turns
    #[arg(long = "payload-file", value_name = "FILE", conflicts_with = "template")]
    payload_files: Vec<PathBuf>,
    /// Send this text; {connection} becomes 8 decimal digits, {sequence} 16 hexadecimal ones
    #[arg(long, value_name = "TEXT", conflicts_with = "binary")]
    template: Option<String>,
    /// How much of what comes back is compared with what was sent
    #[arg(long, value_enum, default_value_t = Verify::Sample)]
    verify: Verify,
    /// A message that waits longer for its answer gives its place to another one; if the answer
    /// comes after all, it counts with the whole of its latency
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = timeout)]
    answer_timeout: Duration,
}

impl OutputArguments {
    /// The files, each with the option that names it.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let files = [
            ("--json", &self.json),
            ("--csv", &self.csv),
            ("--hgrm", &self.hgrm),
            ("--html", &self.html),
        ];
        files.into_iter().filter_map(|(option, file)| Some((option, file.as_deref()?)))
    }
}

impl MessageArguments {
    /// What is sent: payloads of `payload_bytes` where they are generated. A peer that is to be
    /// trusted answers with canned bytes: they carry no number, are not compared and are never
    /// overdue.
    pub(crate) fn content(
        &self,
        payload_bytes: usize,
        server: &ServerArguments,
    ) -> Result<Content, Failure> {
        let pattern = self.payloads(payload_bytes)?;
        Ok(match server.trust_peer {
            true => Content {
                pattern: pattern.unnumbered(),
                verify: Verify::None,
                answer_timeout: None,
            },
            false => Content {
                pattern: pattern.numbered(),
                verify: self.verify,
                answer_timeout: Some(self.answer_timeout),
            },
        })
    }

    fn payloads(&self, payload_bytes: usize) -> Result<Pattern, Failure> {
        if let Some(template) = &self.template {
            return Ok(Pattern::of_template(MessageKind::Text, Template::parse(template)));
        }
        let kind = if self.text { MessageKind::Text } else { MessageKind::Binary };
        if self.payload_files.is_empty() {
            return Ok(Pattern::new(kind, payload_bytes));
        }
        let read = |path: &PathBuf| {
            fs::read(path).map_err(|error| {
                Failure::usage(format!("--payload-file {}: {error}", path.display()))
            })
        };
        let files = self.payload_files.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Pattern::of_files(kind, files))
    }
}

/// How a fan-out is made.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Fan-out")]
pub(crate) struct FanoutOptions {
    /// Connections that publish, each in its turn
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    pub(crate) publishers: usize,
    /// The server does not send a message back to the connection that published it
    #[arg(long)]
    pub(crate) not_to_self: bool,
    /// Each connection sends this text first, to enter a room for example
    #[arg(long, value_name = "TEXT")]
    pub(crate) join: Option<String>,
}

/// How connections are opened.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Pace")]
pub(crate) struct OpeningArguments {
    /// Connections opened a second, before anything is counted; as fast as the server answers without
    /// it. The server has to answer Pings. In slow not of the slow ones
    #[arg(long, value_name = "N", value_parser = positive, conflicts_with = "trust_peer")]
    pub(crate) ramp: Option<usize>,
}

/// When messages are sent, where it is not when others come back.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Pace")]
pub(crate) struct RateArguments {
    /// Messages a second over all connections, sent when they are due whatever has come back: an
    /// open loop. Latency counts from when a message was due
    #[arg(long, value_name = "NUMBER", value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// Messages of --rate are due at random, as from many independent users
    #[arg(long, requires = "rate")]
    poisson: bool,
    /// Each connection pauses after an answer before it sends again, and each publisher when all have
    /// its message, so many milliseconds: always as long, by chance from 200..400, or about as long as
    /// exp:300 says (exponential)
    #[arg(long, value_name = "MILLISECONDS", conflicts_with = "rate")]
    pub(crate) think: Option<Think>,
}

impl RateArguments {
    /// The pace that was asked for, if one was.
    pub(crate) fn pace(&self) -> Option<Pace> {
        let rate = self.rate.map(|rate| Pace::Rate(rate, self.arrivals()));
        rate.or(self.think.map(Pace::Think))
    }

    fn arrivals(&self) -> Arrivals {
        if self.poisson { Arrivals::Poisson } else { Arrivals::Constant }
    }
}
