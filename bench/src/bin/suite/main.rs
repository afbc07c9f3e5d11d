//! Compares the server with what the kernel allows and with the servers of others, and writes the
//! comparison down.
//!
//! No load is made here but for idle connections: `ringload` drives, the servers are processes
//! of their own, and this program only starts them in turns, one round after another, so that
//! whatever the machine does in the meantime happens to all of them. What is compared is the CPU
//! time a server spends on a message, which holds still when the speed of the machine does not.

#![forbid(unsafe_code)]

mod check;
mod contestants;
mod entrants;
mod findings;
mod functions;
mod idle;
mod load;
mod machine;
mod materials;
mod notes;
mod numbers;
mod options;
mod outcome;
mod peers;
mod plots;
mod process;
mod record;
mod rows;
mod run;
mod stopwatch;
mod tables;
mod wire;
mod witness;

use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Parser;

use crate::contestants::Contestant;
use crate::machine::Machine;
use crate::options::Options;
use crate::outcome::{Outcome, Standing};
use crate::record::{PeerVersion, Record};
use crate::rows::{ROWS, Row};
use crate::run::Bench;

/// What can go wrong is told to a person; nothing is decided by its kind.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let options = Options::parse();
    if let Some(file) = &options.from {
        let folder = file.parent().map_or_else(PathBuf::new, Path::to_path_buf);
        return present(&Record::read(file)?, &folder, options.publish);
    }
    let rows: Vec<&Row> = ROWS.iter().filter(|row| row.name.contains(&options.only)).collect();
    if options.list {
        return say(&rows.iter().map(|row| format!("{}\n", row.name)).collect::<String>());
    }
    if rows.is_empty() {
        return Err(format!("no row's name contains {:?}; see --list", options.only).into());
    }
    if options.rounds() == 0 {
        return Err("no round gives no ratio".into());
    }
    ringsock_bench::listener::allow_many_descriptors()?;
    let bench = Bench::new(&options)?;
    if options.check {
        return check::all(&options, &bench);
    }
    let contestants = contestants::all(check::able_peers(&options, &bench)?);
    let mut outcomes = Vec::new();
    for row in rows {
        outcomes.push(measure(&bench, row, &contestants, options.rounds())?);
    }
    let criterion = std::env::var_os("CRITERION_HOME").map(PathBuf::from);
    let functions = criterion.map(|folder| functions::read(&folder)).unwrap_or_default();
    let peers = contestants.iter().filter_map(Contestant::peer).map(|peer| PeerVersion {
        name: peer.name.clone(),
        version: peer.version.clone(),
        headline: peer.headline,
    });
    let record = Record {
        machine: Machine::this(),
        rounds: options.rounds(),
        seconds: options.seconds(),
        peers: peers.collect(),
        rows: outcomes,
        functions,
    };
    let folder = options.record.clone().unwrap_or_else(|| record.default_folder());
    record.write(&folder)?;
    present(&record, &folder, options.publish)?;
    let failed: Vec<&str> = record.failures().collect();
    match failed.is_empty() {
        true => Ok(()),
        false => Err(format!("{} failed: {}", contestants::OWN, failed.join("; ")).into()),
    }
}

/// Draws and writes what people look at; with `publish`, also into the pages of the project.
fn present(record: &Record, folder: &Path, publish: bool) -> Result<()> {
    let plots = plots::write(record, folder)?;
    let findings = findings::read(folder)?;
    let page = tables::full(record, findings.as_deref());
    let pictures: String = plots.iter().map(|name| format!("![{name}]({name})\n\n")).collect();
    let title = format!("# Measured {}\n\n", record.machine.date);
    fs::write(folder.join("README.md"), title + &page + "\n" + &pictures)?;
    if publish {
        let shown = folder.display().to_string();
        tables::publish(Path::new("README.md"), &tables::headline(record, &shown))?;
        let beside = shown.strip_prefix("bench/").unwrap_or(&shown);
        let pictures: String =
            plots.iter().map(|name| format!("\n![{name}]({beside}/{name})\n")).collect();
        tables::publish(Path::new("bench/README.md"), &(page.clone() + &pictures))?;
    }
    say(&format!("\n{page}\nwritten to {}\n", folder.display()))?;
    let missed = record.count(Standing::Missed);
    if missed > 0 && findings.is_none() {
        say(&findings::wanted(missed, folder))?;
    }
    Ok(())
}

/// Runs those of a row in turns. Every other round goes backwards, so that none of them is
/// always the first one after a pause.
fn measure(bench: &Bench, row: &Row, all: &[Contestant], rounds: usize) -> Result<Outcome> {
    say(&format!("{} ", row.name))?;
    let mut turns = entrants::of(row, all);
    let mut outcome = Outcome::new(row, turns.iter().map(|entrant| &*entrant.name));
    for _ in 0..rounds {
        let mut failed = Vec::new();
        for entrant in &turns {
            match bench.run(&entrant.task) {
                Ok(sample) => outcome.add(&entrant.name, sample),
                Err(error) => {
                    outcome.leave_out(&entrant.name, error.to_string());
                    failed.push(entrant.name.clone());
                }
            }
        }
        turns.retain(|entrant| !failed.contains(&entrant.name));
        turns.reverse();
        say(".")?;
    }
    outcome.judge(row.targets);
    say(&format!("{}\n", outcome.summary()))?;
    Ok(outcome)
}

fn say(text: &str) -> Result<()> {
    let mut output = std::io::stdout().lock();
    output.write_all(text.as_bytes())?;
    Ok(output.flush()?)
}
