//! Compares the server with what the kernel allows and writes the comparison down.
//!
//! No load is made here but for idle connections: `ringload` drives, the servers are processes
//! of their own, and this program only starts them in turns, one round after another, so that
//! whatever the machine does in the meantime happens to all of them. What is compared is the CPU
//! time a server spends on a message, which holds still when the speed of the machine does not.

#![forbid(unsafe_code)]

mod idle;
mod machine;
mod mask;
mod process;
mod report;
mod rows;
mod run;

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;

use clap::Parser;

use crate::report::{Outcome, Record};
use crate::rows::{ROWS, Row};

/// What can go wrong is told to a person; nothing is decided by its kind.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Parser)]
#[command(about = "Measures ringsock against raw servers, in turns, and records the ratios")]
struct Options {
    /// Rounds; each runs every server of a row once
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of load in one run
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Core of the server under test
    #[arg(long, default_value_t = 0)]
    server_core: usize,
    /// Core of the load generator
    #[arg(long, default_value_t = 1)]
    client_core: usize,
    /// Driver of the server under test
    #[arg(long, default_value = "ring")]
    driver: String,
    /// Folder with the binaries ringsock, ringload, raw-ring and raw-epoll; by default that of
    /// this program
    #[arg(long)]
    binaries: Option<PathBuf>,
    /// Folder for the record; by default bench/record/DATE-CPU
    #[arg(long)]
    record: Option<PathBuf>,
    /// Only rows whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// Print the names of the rows and stop
    #[arg(long)]
    list: bool,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let rows: Vec<&Row> = ROWS.iter().filter(|row| row.name.contains(&options.only)).collect();
    if options.list {
        return say(&rows.iter().map(|row| format!("{}\n", row.name)).collect::<String>());
    }
    if options.rounds == 0 {
        return Err("no round gives no ratio".into());
    }
    ringsock_bench::listener::allow_many_descriptors()?;
    let bench = run::Bench::new(&options)?;
    let mut outcomes = Vec::new();
    for row in rows {
        say(&format!("{} ", row.name))?;
        let outcome = measure(&bench, row, options.rounds)?;
        say(&format!("{}\n", outcome.verdict()))?;
        outcomes.push(outcome);
    }
    outcomes.extend(mask::outcomes(bench.binaries(), &options.only));
    if outcomes.is_empty() {
        return Err(format!("no row's name contains {:?}; see --list", options.only).into());
    }
    let record = Record::new(&options.driver, options.rounds, options.seconds, outcomes);
    let folder = options.record.unwrap_or_else(|| record.default_folder());
    record.write(&folder)?;
    say(&format!("\n{}\nwritten to {}\n", record.table(), folder.display()))
}

/// Runs the servers of a row in turns. Every other round goes backwards, so that none of them is
/// always the first one after a pause.
fn measure(bench: &run::Bench, row: &Row, rounds: usize) -> Result<Outcome> {
    let mut outcome = Outcome::new(row);
    for round in 0..rounds {
        let mut turns: Vec<_> = row.servers().zip(&mut outcome.subjects).collect();
        if round % 2 == 1 {
            turns.reverse();
        }
        for (server, subject) in turns {
            subject.values.push(bench.run(row, server)?);
        }
        say(".")?;
    }
    Ok(outcome)
}

fn say(text: &str) -> Result<()> {
    let mut output = std::io::stdout().lock();
    output.write_all(text.as_bytes())?;
    Ok(output.flush()?)
}
