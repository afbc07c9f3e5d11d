//! Counts the instructions of the engine's small pieces of work and compares them with the
//! recorded ones: a regression shows whatever else the machine does at the time.
//!
//! No time is measured. Valgrind counts, one process for each piece; this program starts it on
//! itself. Counts depend on the instruction set that the engine picks, so each set has its own
//! record, and a machine with an unrecorded one compares nothing.

#![forbid(unsafe_code)]

mod counter;
mod record;

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use ringsock_bench::work::{self, Work};

use crate::record::{Change, Record};

/// What can go wrong is told to a person; nothing is decided by its kind.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Parser)]
#[command(about = "Counts instructions and compares them with the recorded ones")]
struct Options {
    /// The record
    #[arg(long, default_value = "bench/record/instructions.json")]
    file: PathBuf,
    /// Write the counts down instead of comparing them
    #[arg(long)]
    record: bool,
    /// Only work whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// Do this piece of work to be counted; what this program calls itself with
    #[arg(long, hide = true)]
    pass: Option<String>,
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    if let Some(name) = &options.pass {
        counter::be_counted(name)?;
        return Ok(ExitCode::SUCCESS);
    }
    let all = work::all();
    let chosen: Vec<&Work> = all.iter().filter(|work| work.name.contains(&options.only)).collect();
    if chosen.is_empty() {
        return Err(format!("no work's name contains {:?}", options.only).into());
    }
    let counts = counter::count(&chosen)?;
    let mut record = Record::read(&options.file)?;
    if options.record {
        record.take(counts);
        record.write(&options.file)?;
        say(&format!("recorded {} counts in {}\n", chosen.len(), options.file.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut worse = 0;
    for comparison in record.compare(&counts) {
        say(&format!("{comparison}\n"))?;
        worse += usize::from(comparison.change == Change::Worse);
    }
    let better = chosen.len() - worse;
    say(&format!("{better} passed, {worse} failed\n"))?;
    if worse == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    say("If that is the price of something: bench/README.md says how to record anew.\n")?;
    Ok(ExitCode::FAILURE)
}

fn say(text: &str) -> Result<()> {
    let mut output = std::io::stdout().lock();
    output.write_all(text.as_bytes())?;
    Ok(output.flush()?)
}
