//! What came out, as it is kept: everything that tables and plots are made from.
//!
//! Nothing is measured and nothing is drawn here; what came out for a row is an [`Outcome`].

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::machine::Machine;
use crate::outcome::{Outcome, Sample, Standing, Subject};

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

    /// How many targets of all rows stand so.
    pub(crate) fn count(&self, standing: Standing) -> usize {
        let each = self.rows.iter().flat_map(|row| {
            row.verdicts.iter().filter(move |verdict| row.standing(verdict) == standing)
        });
        each.count()
    }

    /// The rows in which what is judged failed.
    pub(crate) fn failures(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().filter(|row| row.own().is_none()).map(|row| &*row.name)
    }

    /// One line for each run.
    fn csv(&self) -> String {
        let mut csv =
            String::from("row,unit,server,round,value,per_second,p50_us,p99_us,warnings\n");
        for row in &self.rows {
            for subject in &row.subjects {
                for (round, sample) in subject.samples.iter().enumerate() {
                    csv += &csv_line(row, subject, round, sample);
                }
            }
        }
        csv
    }
}

fn csv_line(row: &Outcome, subject: &Subject, round: usize, sample: &Sample) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let beside = [sample.per_second, sample.p50_us, sample.p99_us]
        .map(|number| number.map_or_else(String::new, |number| format!("{number:.1}")))
        .join(",");
    format!(
        "{},{},{},{round},{:.3},{beside},{}\n",
        quoted(&row.name),
        row.unit,
        quoted(&subject.name),
        sample.value,
        quoted(&sample.warnings.join("; ")),
    )
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::contestants::OWN;
    use crate::outcome::tests::outcome;
    use crate::rows::Target;

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

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let folder = std::env::temp_dir().join(format!("ringsock-record-{}", std::process::id()));
        let mut row = outcome(&[(OWN, &[1.5]), ("raw-ring", &[2.5])]);
        row.subjects[0].samples[0].warnings = vec!["beware of \"it\"".into(), "late".into()];
        row.judge(&[
            Target { against: &["raw-ring"], at_most: 1.0 },
            Target { against: &["ws"], at_most: 1.0 },
        ]);
        let written = record(vec![row]);
        written.write(&folder).unwrap();
        let read = Record::read(&folder.join("suite.json")).unwrap();
        let csv = fs::read_to_string(folder.join("suite.csv")).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(format!("{read:?}"), format!("{written:?}"));
        assert_eq!((read.count(Standing::Met), read.count(Standing::NotMeasured)), (1, 1));
        assert!(csv.contains("\"a row\",ns/message,\"raw-ring\",0,2.500,,,,\"\"\n"), "{csv}");
        assert!(csv.contains("1.500,,,,\"beware of \"\"it\"\"; late\"\n"), "{csv}");
    }
}
