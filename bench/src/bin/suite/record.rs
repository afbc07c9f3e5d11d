//! What came out, as it is kept: everything that tables and plots are made from.
//!
//! Nothing is measured and nothing is drawn here.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::contestants::Contestant;
use crate::machine::Machine;
use crate::rows::{Row, Target};

/// A whole run of the suite.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Record {
    #[serde(flatten)]
    pub(crate) machine: Machine,
    pub(crate) rounds: usize,
    pub(crate) seconds: f64,
    pub(crate) peers: Vec<PeerVersion>,
    pub(crate) rows: Vec<Outcome>,
    /// What criterion measured, as it was found.
    pub(crate) functions: Vec<Function>,
}

/// The time of one function.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Function {
    /// Group, function and parameter, as criterion names them.
    pub(crate) name: String,
    pub(crate) nanoseconds: f64,
}

/// Which version of whom.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct PeerVersion {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) headline: bool,
}

/// What came out for one row.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) group: String,
    pub(crate) unit: String,
    /// The server under test first.
    pub(crate) subjects: Vec<Subject>,
    /// Who failed, and how.
    pub(crate) absent: Vec<Absence>,
    pub(crate) verdicts: Vec<Verdict>,
}

/// The samples of one server, one for each round.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) samples: Vec<Sample>,
}

/// One run.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Sample {
    /// In the unit of the row.
    pub(crate) value: f64,
    /// What was done in a second, by a server and a client that share the machine.
    pub(crate) per_second: Option<f64>,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
}

/// Why there is no value.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Absence {
    pub(crate) name: String,
    pub(crate) reason: String,
}

/// A ratio that was wanted, and the one there is: median, lowest and highest of the rounds.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Verdict {
    /// Who was compared with, none if the value itself is meant.
    pub(crate) against: Option<String>,
    pub(crate) at_most: f64,
    pub(crate) ratio: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
}

impl Sample {
    /// A value with nothing beside it.
    pub(crate) fn of(value: f64) -> Self {
        Self { value, per_second: None, p50_us: None, p99_us: None }
    }

    /// The same with a value that was in microseconds.
    pub(crate) fn in_nanoseconds(self) -> Self {
        Self { value: self.value * 1000.0, ..self }
    }
}

impl Subject {
    /// The middle of the values.
    pub(crate) fn median(&self) -> f64 {
        median(self.values())
    }

    /// The lowest and the highest value.
    pub(crate) fn spread(&self) -> (f64, f64) {
        (lowest(self.values()), highest(self.values()))
    }

    fn values(&self) -> impl Iterator<Item = f64> {
        self.samples.iter().map(|sample| sample.value)
    }
}

impl Verdict {
    /// Whether the median ratio is at most what was wanted.
    pub(crate) fn is_met(&self) -> bool {
        self.ratio <= self.at_most
    }
}

impl Outcome {
    /// A row of which nothing has been measured yet.
    pub(crate) fn new(row: &Row, contestants: &[&Contestant]) -> Self {
        let subject = |contestant: &&Contestant| Subject {
            name: contestant.name().into(),
            samples: Vec::new(),
        };
        Self {
            name: row.name.into(),
            group: row.group.into(),
            unit: row.load.unit().into(),
            subjects: contestants.iter().map(subject).collect(),
            absent: Vec::new(),
            verdicts: Vec::new(),
        }
    }

    /// Whom the name belongs to, if it has values.
    pub(crate) fn subject(&self, name: &str) -> Option<&Subject> {
        self.subjects.iter().find(|subject| subject.name == name && !subject.samples.is_empty())
    }

    /// Adds a run.
    pub(crate) fn add(&mut self, name: &str, sample: Sample) {
        if let Some(subject) = self.subjects.iter_mut().find(|subject| subject.name == name) {
            subject.samples.push(sample);
        }
    }

    /// The ratios in a few words.
    pub(crate) fn summary(&self) -> String {
        let word = |verdict: &Verdict| {
            let word = if verdict.is_met() { "met" } else { "MISSED" };
            let against = verdict.against.as_deref().unwrap_or("value");
            format!(" {against} {:.3} of {:.2}: {word}", verdict.ratio, verdict.at_most)
        };
        self.verdicts.iter().map(word).collect::<Vec<_>>().join(",")
    }

    /// Takes a server out that failed.
    pub(crate) fn leave_out(&mut self, name: &str, reason: String) {
        self.subjects.retain(|subject| subject.name != name);
        self.absent.push(Absence { name: name.into(), reason });
    }

    /// Judges the ratios wanted, of those that have values.
    pub(crate) fn judge(&mut self, targets: &[Target]) {
        self.verdicts = targets.iter().filter_map(|target| self.verdict(target)).collect();
    }

    /// Both servers of a ratio ran in the same round, so a round in which the machine was slow
    /// gives the same ratio as one in which it was fast.
    fn verdict(&self, target: &Target) -> Option<Verdict> {
        let own = self.subjects.first()?;
        let others = target.against.iter().filter_map(|name| self.subject(name));
        let best = others.min_by(|a, b| a.median().total_cmp(&b.median()));
        let ratios: Vec<f64> = match best {
            Some(best) => own.values().zip(best.values()).map(|(own, best)| own / best).collect(),
            None if target.against.is_empty() => own.values().collect(),
            None => return None,
        };
        Some(Verdict {
            against: best.map(|best| best.name.clone()),
            at_most: target.at_most,
            ratio: median(ratios.iter().copied()),
            lowest: lowest(ratios.iter().copied()),
            highest: highest(ratios.iter().copied()),
        })
    }
}

impl Record {
    /// Reads what [`Self::write`] wrote.
    pub(crate) fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
        Ok(serde_json::from_str(&text).map_err(|e| format!("{}: {e}", file.display()))?)
    }

    /// `bench/record/DATE-CPU`, seen from the root of the workspace.
    pub(crate) fn default_folder(&self) -> PathBuf {
        Path::new("bench/record").join(format!("{}-{}", self.machine.date, self.machine.cpu_slug()))
    }

    /// Writes `suite.json` and `suite.csv` into `folder`, which is made if it is not there.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("suite.json"), serde_json::to_string_pretty(self)? + "\n")?;
        Ok(fs::write(folder.join("suite.csv"), self.csv())?)
    }

    /// One line for each run.
    fn csv(&self) -> String {
        let mut csv = String::from("row,unit,server,round,value,per_second,p50_us,p99_us\n");
        for outcome in &self.rows {
            for subject in &outcome.subjects {
                for (round, sample) in subject.samples.iter().enumerate() {
                    let Sample { value, per_second, p50_us, p99_us } = sample;
                    let beside = [per_second, p50_us, p99_us]
                        .map(|number| {
                            number.map_or_else(String::new, |number| format!("{number:.1}"))
                        })
                        .join(",");
                    let (name, unit, server) = (&outcome.name, &outcome.unit, &subject.name);
                    csv += &format!("\"{name}\",{unit},{server},{round},{value:.3},{beside}\n");
                }
            }
        }
        csv
    }
}

/// The middle value, or the mean of the two in the middle; not a number if there are none.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

fn lowest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::INFINITY, f64::min)
}

fn highest(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(f64::NEG_INFINITY, f64::max)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::contestants::OWN;

    /// An outcome with these values, the server under test first.
    pub(crate) fn outcome(values: &[(&str, &[f64])]) -> Outcome {
        let subjects = values.iter().map(|(name, values)| Subject {
            name: (*name).into(),
            samples: values.iter().copied().map(Sample::of).collect(),
        });
        Outcome {
            name: "a row".into(),
            group: "echo".into(),
            unit: "ns/message".into(),
            subjects: subjects.collect(),
            absent: Vec::new(),
            verdicts: Vec::new(),
        }
    }

    /// A record with these rows.
    pub(crate) fn record(rows: Vec<Outcome>) -> Record {
        let peer = |name: &str, headline| PeerVersion {
            name: name.into(),
            version: "1.2".into(),
            headline,
        };
        let peers = vec![peer("uWebSockets", true), peer("websockets", false)];
        let functions = vec![Function { name: "mask/naive/20".into(), nanoseconds: 12.5 }];
        Record { machine: Machine::this(), rounds: 3, seconds: 1.0, peers, rows, functions }
    }

    const RAW: Target = Target { against: &["raw-ring", "raw-epoll"], at_most: 1.10 };

    #[test]
    fn the_median_of_an_even_count_is_between_the_two_in_the_middle() {
        assert_eq!(median([4.0, 1.0, 3.0].into_iter()), 3.0);
        assert_eq!(median([4.0, 1.0, 3.0, 2.0].into_iter()), 2.5);
        assert!(median([].into_iter()).is_nan());
    }

    #[test]
    fn the_ratio_is_taken_round_by_round_to_the_better_of_those_named() {
        // The machine was twice as slow in the last round.
        let mut outcome = outcome(&[
            (OWN, &[105.0, 110.0, 212.0]),
            ("raw-ring", &[100.0, 100.0, 200.0]),
            ("raw-epoll", &[120.0; 3]),
            ("uWebSockets", &[10.0; 3]),
        ]);
        outcome.judge(&[RAW]);
        let verdict = &outcome.verdicts[0];
        assert_eq!(verdict.against.as_deref(), Some("raw-ring"));
        assert!((verdict.ratio - 1.06).abs() < 1e-9);
        assert!((verdict.highest - 1.10).abs() < 1e-9);
        assert!(verdict.is_met());
    }

    #[test]
    fn a_target_for_the_value_itself_needs_nobody_else() {
        let mut outcome = outcome(&[(OWN, &[255.0, 257.0, 256.0])]);
        let target = [Target { against: &[], at_most: 256.0 }];
        outcome.judge(&target);
        assert!(outcome.verdicts[0].is_met());
        outcome.subjects[0].samples.push(Sample::of(257.0));
        outcome.judge(&target);
        assert!(!outcome.verdicts[0].is_met());
    }

    #[test]
    fn nothing_is_said_of_those_who_failed() {
        let mut outcome = outcome(&[(OWN, &[1.0]), ("raw-ring", &[1.0])]);
        outcome.leave_out("raw-ring", "it fell".into());
        outcome.judge(&[RAW]);
        assert!(outcome.verdicts.is_empty());
        assert_eq!(outcome.absent[0].reason, "it fell");
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let folder = std::env::temp_dir().join(format!("ringsock-record-{}", std::process::id()));
        let written = record(vec![outcome(&[(OWN, &[1.5]), ("raw-ring", &[2.5])])]);
        written.write(&folder).unwrap();
        let read = Record::read(&folder.join("suite.json")).unwrap();
        let csv = fs::read_to_string(folder.join("suite.csv")).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(format!("{read:?}"), format!("{written:?}"));
        assert!(csv.contains("\"a row\",ns/message,raw-ring,0,2.500,,,\n"), "{csv}");
    }
}
