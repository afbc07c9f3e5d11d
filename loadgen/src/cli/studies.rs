//! The options of the modes that make several runs.

use std::time::Duration;

use clap::Args;

use super::groups::{
    EngineArguments, FanoutOptions, MessageArguments, OpeningArguments, OutputArguments,
    RateArguments, ServerArguments,
};
use super::values::{count_or_max, payload, positive, rate, share, span};
use crate::expect::Expectation;
use crate::loads::Pace;
use crate::schedule::Arrivals;
use crate::think::Think;

/// What a study loads the server with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LoadKind {
    /// Messages sent back
    Echo,
    /// One publishes, everybody receives
    Fanout,
}

/// What a search raises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Raised {
    /// Messages a second
    Rate,
    /// Connections
    Connections,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct MatrixArguments {
    #[command(flatten)]
    pub(crate) server: ServerArguments,
    /// The load
    #[arg(long, value_enum, default_value_t = LoadKind::Echo)]
    pub(crate) load: LoadKind,
    /// Bytes of payload
    #[arg(long, value_name = "BYTES,…", value_delimiter = ',', default_value = "20,1000,16384",
        value_parser = payload)]
    pub(crate) payloads: Vec<usize>,
    /// Connections
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,64,256",
        value_parser = positive)]
    pub(crate) connections: Vec<usize>,
    /// Messages a second; max is a closed loop with one message under way on each connection
    #[arg(long, value_name = "NUMBER,…", value_delimiter = ',', default_value = "max",
        value_parser = count_or_max)]
    pub(crate) rates: Vec<f64>,
    /// Each connection pauses after an answer before it sends again, and each publisher when all have
    /// its message; see echo --think
    #[arg(long, value_name = "MILLISECONDS", conflicts_with = "rates", help_heading = "Pace")]
    pub(crate) think: Option<Think>,
    /// Seconds that are counted for each row
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = span)]
    pub(crate) seconds_per_row: Duration,
    #[command(flatten)]
    pub(crate) fanout: FanoutOptions,
    #[command(flatten)]
    pub(crate) opening: OpeningArguments,
    #[command(flatten)]
    pub(crate) message: MessageArguments,
    #[command(flatten)]
    pub(crate) engine: EngineArguments,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct SearchArguments {
    #[command(flatten)]
    pub(crate) server: ServerArguments,
    /// What must hold, such as p99<5ms; nothing may be lost besides
    #[arg(long, value_name = "CONDITIONS")]
    pub(crate) slo: Expectation,
    /// The load
    #[arg(long, value_enum, default_value_t = LoadKind::Echo)]
    pub(crate) load: LoadKind,
    /// What is raised until the conditions no longer hold
    #[arg(long, value_enum, default_value_t = Raised::Rate)]
    pub(crate) raise: Raised,
    /// Where to begin
    #[arg(long, value_name = "NUMBER", value_parser = rate)]
    pub(crate) from: Option<f64>,
    /// Where to end at the latest
    #[arg(long, value_name = "NUMBER", default_value = "10M", value_parser = rate)]
    pub(crate) to: f64,
    /// How closely the limit is to be found, as a share of it
    #[arg(long, value_name = "SHARE", default_value = "0.05", value_parser = share)]
    pub(crate) precision: f64,
    /// Connections, unless they are what is raised
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = positive)]
    pub(crate) connections: usize,
    /// Messages a second while connections are raised; a closed loop without it
    #[arg(long, value_name = "NUMBER", value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// Each connection pauses after an answer before it sends again, and each publisher when all have
    /// its message, while connections are raised; see echo --think
    #[arg(long, value_name = "MILLISECONDS", conflicts_with = "rate", help_heading = "Pace")]
    pub(crate) think: Option<Think>,
    /// Bytes of payload in each message
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = payload)]
    pub(crate) payload: usize,
    /// Seconds that are counted in each step
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = span)]
    pub(crate) seconds_per_step: Duration,
    #[command(flatten)]
    pub(crate) fanout: FanoutOptions,
    #[command(flatten)]
    pub(crate) opening: OpeningArguments,
    #[command(flatten)]
    pub(crate) message: MessageArguments,
    #[command(flatten)]
    pub(crate) engine: EngineArguments,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct CompareArguments {
    #[command(flatten)]
    pub(crate) server: ServerArguments,
    /// The other server's address
    pub(crate) url_b: String,
    /// Process id of the other server
    #[arg(long, value_name = "PID", help_heading = "Server")]
    pub(crate) server_pid_b: Option<u32>,
    /// Start the other server with this command, on the cores of --server-cores
    #[arg(long, value_name = "COMMAND", conflicts_with = "server_pid_b", help_heading = "Server")]
    pub(crate) server_cmd_b: Option<String>,
    /// The load
    #[arg(long, value_enum, default_value_t = LoadKind::Echo)]
    pub(crate) load: LoadKind,
    /// What the first is called
    #[arg(long, value_name = "NAME", default_value = "A")]
    pub(crate) name_a: String,
    /// What the other is called
    #[arg(long, value_name = "NAME", default_value = "B")]
    pub(crate) name_b: String,
    /// Rounds, each of which has a run on both; more make the interval smaller
    #[arg(long, value_name = "N", default_value_t = 5,
        value_parser = clap::value_parser!(u32).range(2..=1000))]
    pub(crate) rounds: u32,
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = positive)]
    pub(crate) connections: usize,
    /// Bytes of payload in each message
    #[arg(long, value_name = "BYTES", default_value_t = 20, value_parser = payload)]
    pub(crate) payload: usize,
    /// Messages under way on each connection, 1 if not given; see echo --pipeline
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) pipeline: Option<usize>,
    /// Seconds that are counted in each run
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = span)]
    pub(crate) seconds_per_run: Duration,
    #[command(flatten)]
    pub(crate) rate: RateArguments,
    #[command(flatten)]
    pub(crate) fanout: FanoutOptions,
    #[command(flatten)]
    pub(crate) opening: OpeningArguments,
    #[command(flatten)]
    pub(crate) message: MessageArguments,
    #[command(flatten)]
    pub(crate) engine: EngineArguments,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

impl SlowArguments {
    /// The pace of the quick ones.
    pub(crate) fn pace(&self) -> Pace {
        self.think.map_or(Pace::Rate(self.rate, Arrivals::Constant), Pace::Think)
    }
}

#[derive(Args, Clone, Debug)]
pub(crate) struct SlowArguments {
    #[command(flatten)]
    pub(crate) server: ServerArguments,
    /// The load
    #[arg(long, value_enum, default_value_t = LoadKind::Fanout)]
    pub(crate) load: LoadKind,
    /// Connections in all
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = positive)]
    pub(crate) connections: usize,
    /// The share of them that is slow
    #[arg(long, value_name = "SHARE", default_value = "0.1", value_parser = share)]
    pub(crate) slow_share: f64,
    /// Bytes a second that a slow one reads; 0 stops to read
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub(crate) slow_bytes_per_second: u64,
    /// Messages a second
    #[arg(long, value_name = "NUMBER", default_value = "200", value_parser = rate)]
    pub(crate) rate: f64,
    /// Each connection pauses after an answer before it sends again, and each publisher when all have
    /// its message, instead of a rate; see echo --think
    #[arg(long, value_name = "MILLISECONDS", conflicts_with = "rate", help_heading = "Pace")]
    pub(crate) think: Option<Think>,
    /// Bytes of payload in each message
    #[arg(long, value_name = "BYTES", default_value_t = 4096, value_parser = payload)]
    pub(crate) payload: usize,
    /// Seconds that are counted, once without the slow ones and once with them
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = span)]
    pub(crate) duration: Duration,
    #[command(flatten)]
    pub(crate) fanout: FanoutOptions,
    #[command(flatten)]
    pub(crate) opening: OpeningArguments,
    #[command(flatten)]
    pub(crate) message: MessageArguments,
    #[command(flatten)]
    pub(crate) engine: EngineArguments,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}
