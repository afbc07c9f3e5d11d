//! The recorded counts and what differs from them.
//!
//! Nothing is counted here.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::counter::Counts;

/// What an allocator or a library may make of the same code on another machine: a share, and
/// instructions beside it for the shortest functions.
const TOLERANCE: f64 = 0.03;
const TOLERANCE_INSTRUCTIONS: f64 = 2.0;
/// Beyond this it fails. What lies between may be another machine's doing, and is told.
const REGRESSION: f64 = 0.15;
const REGRESSION_INSTRUCTIONS: f64 = 10.0;

/// Instructions of one operation, by instruction set and name.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(transparent)]
pub(crate) struct Record(BTreeMap<String, BTreeMap<String, f64>>);

/// One piece of work, then and now.
#[derive(Debug)]
pub(crate) struct Comparison {
    name: String,
    now: f64,
    before: Option<f64>,
    pub(crate) change: Change,
}

/// Which way it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Not recorded for this instruction set, so nothing can be said.
    NotRecorded,
    Same,
    Better,
    /// More than the record says, but not so much that it must be the code's doing.
    Worse,
    Regressed,
}

impl Record {
    /// Reads it; empty if there is none.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        match fs::read_to_string(file) {
            Ok(text) => Ok(serde_json::from_str(&text)
                .map_err(|error| format!("{}: {error}", file.display()))?),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(format!("{}: {error}", file.display()).into()),
        }
    }

    /// Writes it.
    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        Ok(fs::write(file, serde_json::to_string_pretty(self)? + "\n")?)
    }

    /// Puts counts in the place of those with the same names.
    pub(crate) fn take(&mut self, counts: Counts) {
        let rounded =
            counts.each.into_iter().map(|(name, count)| (name, (count * 10.0).round() / 10.0));
        self.0.entry(counts.instruction_set).or_default().extend(rounded);
    }

    /// Compares counts with those recorded.
    pub(crate) fn compare(&self, counts: &Counts) -> Vec<Comparison> {
        let recorded = self.0.get(&counts.instruction_set);
        let comparison = |(name, &now): (&String, &f64)| {
            let before = recorded.and_then(|recorded| recorded.get(name)).copied();
            let change = match before {
                None => Change::NotRecorded,
                Some(before) => {
                    let allowed = before * TOLERANCE + TOLERANCE_INSTRUCTIONS;
                    let regression = before * REGRESSION + REGRESSION_INSTRUCTIONS;
                    match now - before {
                        more if more > regression => Change::Regressed,
                        more if more > allowed => Change::Worse,
                        less if less < -allowed => Change::Better,
                        _ => Change::Same,
                    }
                }
            };
            Comparison { name: name.clone(), now, before, change }
        };
        counts.each.iter().map(comparison).collect()
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, now, before, change } = self;
        write!(formatter, "{name:<34} {now:>10.1}")?;
        let Some(before) = before else { return write!(formatter, "  NOT COMPARED") };
        let percent = (now / before - 1.0) * 100.0;
        match change {
            Change::Regressed => {
                write!(formatter, "  REGRESSED, was {before:.1} ({percent:+.1} %)")
            }
            Change::Worse => write!(formatter, "  worse, was {before:.1} ({percent:+.1} %)"),
            Change::Better => write!(formatter, "  better, was {before:.1} ({percent:+.1} %)"),
            Change::Same | Change::NotRecorded => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(set: &str, each: &[(&str, f64)]) -> Counts {
        let each = each.iter().map(|&(name, count)| (name.to_owned(), count)).collect();
        Counts { instruction_set: set.into(), each }
    }

    fn change(before: f64, now: f64) -> Change {
        let mut record = Record::default();
        record.take(counts("avx2", &[("a", before)]));
        record.compare(&counts("avx2", &[("a", now)]))[0].change
    }

    #[test]
    fn more_than_the_tolerance_is_worse_and_less_is_better() {
        assert_eq!(change(1000.0, 1032.0), Change::Same);
        assert_eq!(change(1000.0, 1033.0), Change::Worse);
        assert_eq!(change(1000.0, 1160.0), Change::Worse);
        assert_eq!(change(1000.0, 1161.0), Change::Regressed);
        assert_eq!(change(1000.0, 967.0), Change::Better);
        assert_eq!(change(10.0, 12.0), Change::Same);
        assert_eq!(change(10.0, 13.0), Change::Worse);
    }

    #[test]
    fn another_instruction_set_and_new_work_are_compared_with_nothing() {
        let mut record = Record::default();
        record.take(counts("avx2", &[("a", 10.0)]));
        for counts in [counts("neon", &[("a", 99.0)]), counts("avx2", &[("b", 99.0)])] {
            assert_eq!(record.compare(&counts)[0].change, Change::NotRecorded);
        }
    }

    #[test]
    fn a_record_keeps_what_was_not_counted_again() {
        let mut record = Record::default();
        record.take(counts("avx2", &[("a", 10.0), ("b", 20.0)]));
        record.take(counts("avx2", &[("a", 11.04)]));
        let compared = record.compare(&counts("avx2", &[("a", 11.0), ("b", 20.0)]));
        assert!(compared.iter().all(|one| one.change == Change::Same), "{compared:?}");
    }
}
