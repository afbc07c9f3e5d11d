//! Counts the instructions of the engine's small pieces of work and compares them with the
//! recorded ones: a regression shows whatever else the machine does at the time.
//!
//! No time is measured. Valgrind counts, one process for each piece; this program starts it on
//! itself. Counts depend on the instruction set that the engine picks there, so each set has its
//! own record, and what is not recorded for it is not compared. Inside of valgrind that is AVX2 at
//! most: what only wider vectors do is timed by the suite, not counted here.

#![forbid(unsafe_code)]

mod counter;
mod record;

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use ringsock_bench::work::{self, Work};

use crate::record::{Change, Comparison, Record};

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
    say(&format!("{}\n", counted_as(&counts.instruction_set)))?;
    let comparisons = record.compare(&counts);
    for comparison in &comparisons {
        say(&format!("{comparison}\n"))?;
    }
    conclude(&comparisons, &counts.instruction_set)
}

/// Whose instructions these are: not always those that this machine runs outside of valgrind.
fn counted_as(instruction_set: &str) -> String {
    let native = ringsock::simd::mask_in_use();
    match native == instruction_set {
        true => format!("instructions with {instruction_set}"),
        false => format!(
            "instructions with {instruction_set}, the most that valgrind offers; without it this \
             machine runs {native}"
        ),
    }
}

/// Says how many passed, last of all, and what to do about the others. What was compared with
/// nothing has not passed.
fn conclude(comparisons: &[Comparison], instruction_set: &str) -> Result<ExitCode> {
    let count = |wanted: fn(Change) -> bool| {
        comparisons.iter().filter(|comparison| wanted(comparison.change)).count()
    };
    let regressed = count(|change| change == Change::Regressed);
    let worse = count(|change| change == Change::Worse) + regressed;
    let unknown = count(|change| change == Change::NotRecorded);
    if worse > 0 {
        say("if more is the price of something: bench/README.md says how to record anew\n")?;
    }
    if unknown > 0 {
        say(&format!(
            "{unknown} not compared: nothing is recorded for them with {instruction_set}; \
             bench/README.md says how to\n"
        ))?;
    }
    let passed = comparisons.len() - regressed - unknown;
    say(&format!("{passed} passed, {regressed} failed\n"))?;
    Ok(if regressed + unknown == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn say(text: &str) -> Result<()> {
    let mut output = std::io::stdout().lock();
    output.write_all(text.as_bytes())?;
    Ok(output.flush()?)
}
