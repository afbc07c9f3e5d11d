//! Counting with valgrind, on both sides: the program that starts it, and the same program inside.
//!
//! Only what runs inside of [`counted`] counts; preparations and the first pass, which grows
//! vectors, do not.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;

use ringsock_bench::work::{self, Pass, Work};

use crate::Result;

/// Passes that are counted, so that one which happens to do more does not decide.
const PASSES: u64 = 8;
/// What the parent looks for in the name of a function that ends in it.
const COUNTED: &str = "*counter::counted*";

/// Counts of one instruction set: instructions of one operation, by the name of the work.
pub(crate) struct Counts {
    pub(crate) instruction_set: String,
    pub(crate) each: BTreeMap<String, f64>,
}

/// Counts all pieces, as many at a time as there are cores.
pub(crate) fn count(chosen: &[&Work]) -> Result<Counts> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let left = Mutex::new(chosen.to_vec());
    let counted = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(work) = left.lock().ok().and_then(|mut left| left.pop()) {
                    let count = count_one(work).map_err(|error| format!("{}: {error}", work.name));
                    if let Ok(mut counted) = counted.lock() {
                        counted.push((work.name.clone(), count));
                    }
                }
            });
        }
    });
    let mut counts = Counts { instruction_set: String::new(), each: BTreeMap::new() };
    for (name, count) in counted.into_inner()? {
        let (instruction_set, each) = count?;
        counts.instruction_set = instruction_set;
        counts.each.insert(name, each);
    }
    Ok(counts)
}

fn count_one(work: &Work) -> Result<(String, f64)> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"])
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(std::env::current_exe()?)
        .args(["--pass", &work.name])
        // Where the C library copies with one repeated instruction, valgrind counts each byte.
        .env("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-ERMS,-FSRM")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("valgrind: {error}; scripts/setup installs it"))?;
    let total = collected(&output)?;
    let instruction_set = String::from_utf8(output.stdout)?.trim().to_owned();
    Ok((instruction_set, total as f64 / (PASSES * work.operations) as f64))
}

/// The sum that callgrind tells at the end.
fn collected(output: &Output) -> Result<u64> {
    let said = String::from_utf8_lossy(&output.stderr);
    let sum = said.lines().find_map(|line| line.split_once("Collected : "));
    let sum = sum.and_then(|(_, sum)| sum.trim().parse().ok()).filter(|&sum| sum > 0);
    if !output.status.success() {
        return Err(format!("{}: {said}", output.status).into());
    }
    Ok(sum.ok_or_else(|| format!("callgrind counted nothing: {said}"))?)
}

/// Inside of valgrind: does the work and says which instruction set the engine picked.
pub(crate) fn be_counted(name: &str) -> Result<()> {
    let all = work::all();
    let work = all.iter().find(|work| work.name == name).ok_or("there is no such work")?;
    let mut pass = work.prepare();
    pass();
    counted(&mut pass);
    let set = ringsock::simd::mask_in_use();
    Ok(writeln!(std::io::stdout(), "{set}")?)
}

#[inline(never)]
fn counted(pass: &mut Pass) {
    for _ in 0..PASSES {
        pass();
    }
}
