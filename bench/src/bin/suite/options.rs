//! The command line of the suite.
//!
//! What the flags mean together is decided in `main`.

use std::path::PathBuf;

use clap::Parser;

#[derive(Parser)]
#[command(
    about = "Measures ringsock against raw servers and the servers of others, in turns, and records the ratios",
    after_help = "Run it from the root of the workspace, best through scripts/bench, which builds what it needs."
)]
pub(crate) struct Options {
    /// One short round: whether everything works, and roughly how it stands
    #[arg(long)]
    quick: bool,
    /// Rounds; each runs every server of a row once [default: 5, quick: 1]
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds of load in one run [default: 3, quick: 0.6]
    #[arg(long)]
    seconds: Option<f64>,
    /// Core of the server under test
    #[arg(long, default_value_t = 0)]
    pub(crate) server_core: usize,
    /// Core of the load generator
    #[arg(long, default_value_t = 1)]
    pub(crate) client_core: usize,
    /// Folder with our programs; by default that of this one
    #[arg(long)]
    pub(crate) binaries: Option<PathBuf>,
    /// Folder for the record; by default bench/record/DATE-CPU
    #[arg(long)]
    pub(crate) record: Option<PathBuf>,
    /// Also write the tables into README.md and bench/README.md
    #[arg(long)]
    pub(crate) publish: bool,
    /// Measure nothing; draw and publish what this suite.json holds
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
    /// Only rows whose name contains this
    #[arg(long, default_value = "")]
    pub(crate) only: String,
    /// Only these servers of others, by the names in bench/rivals/peers.toml
    #[arg(long, value_delimiter = ',', conflicts_with = "no_peers")]
    peers: Vec<String>,
    /// No servers of others: only ours against the raw ones
    #[arg(long)]
    no_peers: bool,
    /// Install the servers of others, see that they do what they say they can, and stop
    #[arg(long)]
    pub(crate) check: bool,
    /// Print the names of the rows and stop
    #[arg(long)]
    pub(crate) list: bool,
}

impl Options {
    /// How often each server of a row is run.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.quick { 1 } else { 5 })
    }

    /// How long each run is.
    pub(crate) fn seconds(&self) -> f64 {
        self.seconds.unwrap_or(if self.quick { 0.6 } else { 3.0 })
    }

    /// Whether this server of others takes part.
    pub(crate) fn wants(&self, peer: &str) -> bool {
        !self.no_peers && (self.peers.is_empty() || self.peers.iter().any(|name| name == peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(words: &[&str]) -> Options {
        Options::parse_from([&["suite"], words].concat())
    }

    #[test]
    fn quick_is_short_unless_told_otherwise() {
        let quick = options(&["--quick", "--seconds", "2"]);
        assert_eq!((quick.rounds(), quick.seconds()), (1, 2.0));
        assert_eq!((options(&[]).rounds(), options(&[]).seconds()), (5, 3.0));
    }

    #[test]
    fn peers_are_all_some_or_none() {
        assert!(options(&[]).wants("ws"));
        let some = options(&["--peers", "ws,Bun"]);
        assert!(some.wants("Bun") && !some.wants("ntex"));
        assert!(!options(&["--no-peers"]).wants("ws"));
    }
}
