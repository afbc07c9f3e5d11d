//! Where and when a measurement was made.
//!
//! What cannot be found out is recorded as unknown; no measurement fails for it.

use std::fs;
use std::process::Command;

use serde::{Deserialize, Serialize};

/// The machine, the day and the state of the sources.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Machine {
    /// The day in UTC, as in 2026-11-22.
    pub(crate) date: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    /// The commit measured, with a plus sign if the sources differ from it.
    pub(crate) commit: String,
}

impl Machine {
    /// This machine, now.
    pub(crate) fn this() -> Self {
        let date = output_of("date", &["-u", "+%F"]).unwrap_or_else(|| "undated".into());
        let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = processors
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map_or_else(|| "unknown".into(), |(_, name)| name.trim().to_string());
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")
            .map_or_else(|_| "unknown".into(), |release| release.trim().to_string());
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { date, cpu, cores, kernel, commit: commit() }
    }

    /// The processor in lower case, letters, digits and hyphens.
    pub(crate) fn cpu_slug(&self) -> String {
        let words = self.cpu.split(|c: char| !c.is_ascii_alphanumeric());
        let words: Vec<String> =
            words.filter(|word| !word.is_empty()).map(str::to_ascii_lowercase).collect();
        words.join("-")
    }
}

fn commit() -> String {
    let Some(commit) = output_of("git", &["rev-parse", "--short=12", "HEAD"]) else {
        return "unknown".into();
    };
    match output_of("git", &["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if !changes.is_empty() => commit + "+",
        _ => commit,
    }
}

/// What a program printed, `None` if it is missing or failed.
fn output_of(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_makes_a_folder_name() {
        let machine =
            Machine { cpu: "Intel(R) Xeon(R) Processor @ 2.2GHz".into(), ..Machine::this() };
        assert_eq!(machine.cpu_slug(), "intel-r-xeon-r-processor-2-2ghz");
    }
}
