//! The options of each mode.

use std::time::Duration;

use clap::Args;

use super::groups::{
    CompressionArguments, EngineArguments, FanoutOptions, MessageArguments, OpeningArguments,
    OutputArguments, RateArguments, ServerArguments,
};
use super::values::{payload, positive, seconds, span};
use crate::think::Think;

#[derive(Args, Clone, Debug)]
pub(crate) struct EchoArguments {
    #[command(flatten)]
    pub(crate) server: ServerArguments,
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = positive)]
    pub(crate) connections: usize,
    /// Bytes of payload in each message
    #[arg(long, value_name = "BYTES", default_value_t = 20, value_parser = payload)]
    pub(crate) payload: usize,
    /// Messages under way on each connection, 1 if not given; with --rate the most of them, 1000 if
    /// not given: further ones wait, and the wait counts
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) pipeline: Option<usize>,
    /// Seconds that are counted
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = span)]
    pub(crate) duration: Duration,
    /// Seconds before those, under load and not counted
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(crate) warmup: Duration,
    /// Messages on each connection, all of them counted, instead of a duration
    #[arg(long, value_name = "N", conflicts_with_all = ["duration", "warmup", "rate", "think"],
        value_parser = clap::value_parser!(u64).range(1..=1 << 40))]
    pub(crate) messages: Option<u64>,
    /// Seconds to keep the connections open afterwards, without load
    #[arg(long, value_name = "SECONDS", default_value = "0", value_parser = seconds)]
    pub(crate) hold: Duration,
    #[command(flatten)]
    pub(crate) rate: RateArguments,
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
pub(crate) struct HeadersArguments {
    #[command(flatten)]
    pub(crate) server: ServerArguments,
    /// Connections; fewer for the largest payloads
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = positive)]
    pub(crate) connections: usize,
    /// Messages under way on each connection
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    pub(crate) pipeline: usize,
    /// Seconds that are counted for each payload
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = span)]
    pub(crate) seconds_per_row: Duration,
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
pub(crate) struct ChurnArguments {
    #[command(flatten)]
    pub(crate) server: ServerArguments,
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
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = span)]
    pub(crate) duration: Duration,
    /// Seconds before those, under load and not counted
    #[arg(long, value_name = "SECONDS", default_value = "0.5", value_parser = seconds)]
    pub(crate) warmup: Duration,
    /// Each connection pauses between its messages, so many milliseconds: always as long, by chance from
    /// 200..400, or about as long as exp:300 says. How long a cycle takes is told without its pauses
    #[arg(long, value_name = "MILLISECONDS", help_heading = "Pace")]
    pub(crate) think: Option<Think>,
    #[command(flatten)]
    pub(crate) message: MessageArguments,
    #[command(flatten)]
    pub(crate) engine: EngineArguments,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct IdleArguments {
    #[command(flatten)]
    pub(crate) server: ServerArguments,
    /// Connections
    #[arg(long, value_name = "N", value_parser = positive)]
    pub(crate) connections: usize,
    /// Bytes of payload in the one message of each
    #[arg(long, value_name = "BYTES", default_value_t = 20, value_parser = payload)]
    pub(crate) payload: usize,
    /// Ping every connection once in so many seconds while they are kept open, and tell how long the
    /// answers take
    #[arg(long, value_name = "SECONDS", value_parser = span)]
    pub(crate) ping_interval: Option<Duration>,
    /// Seconds to keep them open once all are there
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(crate) hold: Duration,
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
pub(crate) struct FanoutArguments {
    #[command(flatten)]
    pub(crate) server: ServerArguments,
    /// Subscribers, the publishers among them
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = positive)]
    pub(crate) connections: usize,
    /// Bytes of payload in each message; from 16 on they carry the sequence number that is checked
    #[arg(long, value_name = "BYTES", default_value_t = 100, value_parser = payload)]
    pub(crate) payload: usize,
    /// Messages of each publisher under way: published and not yet received by everybody. Not with
    /// --rate and --think, which say when messages are due
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    pub(crate) pipeline: usize,
    /// Seconds that are counted
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = span)]
    pub(crate) duration: Duration,
    /// Seconds before those, under load and not counted
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(crate) warmup: Duration,
    #[command(flatten)]
    pub(crate) fanout: FanoutOptions,
    #[command(flatten)]
    pub(crate) rate: RateArguments,
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
pub(crate) struct FuzzingArguments {
    /// The fuzzing server's address: ws://HOST:PORT
    pub(crate) url: String,
    /// The name under which the server reports
    #[arg(long, value_name = "NAME", default_value = "ringsock")]
    pub(crate) agent: String,
    #[command(flatten)]
    pub(crate) compression: CompressionArguments,
    #[command(flatten)]
    pub(crate) engine: EngineArguments,
    #[command(flatten)]
    pub(crate) output: OutputArguments,
}
