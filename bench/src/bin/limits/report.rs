//! From numbers to ratios, and from ratios to a table and a record.
//!
//! Nothing is measured here.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::Result;
use crate::machine::Machine;
use crate::rows::Row;

/// What came out for one row: the server under test first, then what it is compared with.
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) target: f64,
    pub(crate) subjects: Vec<Subject>,
}

/// The values of one server, one for each round.
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) values: Vec<f64>,
}

/// The ratio to the best of those compared with: median, lowest and highest of the rounds.
pub(crate) struct Ratio {
    pub(crate) against: &'static str,
    pub(crate) median: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
}

impl Subject {
    /// Something measured elsewhere, once.
    pub(crate) fn measured(name: &'static str, value: f64) -> Self {
        Self { name, values: vec![value] }
    }

    fn median(&self) -> f64 {
        median(&self.values)
    }
}

impl Outcome {
    /// A row of which nothing has been measured yet.
    pub(crate) fn new(row: &Row) -> Self {
        Self {
            name: row.name.into(),
            unit: row.load.unit(),
            target: row.target,
            subjects: row
                .servers()
                .map(|server| Subject { name: server.name(), values: Vec::new() })
                .collect(),
        }
    }

    /// Both servers of a ratio ran in the same round, so a round in which the machine was slow
    /// gives the same ratio as one in which it was fast. With nothing to compare with, the
    /// "ratio" is the value itself.
    pub(crate) fn ratio(&self) -> Ratio {
        let (own, others) = (&self.subjects[0], &self.subjects[1..]);
        let best = others.iter().min_by(|a, b| a.median().total_cmp(&b.median()));
        let ratios: Vec<f64> = match best {
            Some(best) => own.values.iter().zip(&best.values).map(|(own, raw)| own / raw).collect(),
            None => own.values.clone(),
        };
        Ratio {
            against: best.map_or("-", |best| best.name),
            median: median(&ratios),
            lowest: ratios.iter().copied().fold(f64::INFINITY, f64::min),
            highest: ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    }

    /// Whether the median ratio is at most the target.
    pub(crate) fn is_met(&self) -> bool {
        self.ratio().median <= self.target
    }

    /// The ratio and the target in a few words.
    pub(crate) fn verdict(&self) -> String {
        let verdict = if self.is_met() { "met" } else { "MISSED" };
        format!(" {:.3} of {:.2}: {verdict}", self.ratio().median, self.target)
    }
}

/// Everything that is written down.
pub(crate) struct Record {
    machine: Machine,
    driver: String,
    rounds: usize,
    seconds: f64,
    outcomes: Vec<Outcome>,
}

impl Record {
    /// Adds date and machine to what was measured.
    pub(crate) fn new(driver: &str, rounds: usize, seconds: f64, outcomes: Vec<Outcome>) -> Self {
        Self { machine: Machine::this(), driver: driver.into(), rounds, seconds, outcomes }
    }

    /// `bench/record/DATE-CPU`, seen from the root of the workspace.
    pub(crate) fn default_folder(&self) -> PathBuf {
        Path::new("bench/record").join(format!("{}-{}", self.machine.date, self.machine.cpu_slug()))
    }

    /// The table, in Markdown.
    pub(crate) fn table(&self) -> String {
        let mut table = String::from(
            "| measure | unit | medians | ratio to | ratio (lowest - highest) | target | |\n\
             |---|---|---|---|---|---|---|\n",
        );
        for outcome in &self.outcomes {
            let medians: Vec<String> = outcome
                .subjects
                .iter()
                .map(|subject| format!("{} {:.0}", subject.name, subject.median()))
                .collect();
            let Ratio { against, median, lowest, highest } = outcome.ratio();
            table += &format!(
                "| {} | {} | {} | {against} | **{median:.3}** ({lowest:.3} - {highest:.3}) | ≤ {:.2} | {} |\n",
                outcome.name,
                outcome.unit,
                medians.join(", "),
                outcome.target,
                if outcome.is_met() { "met" } else { "missed" },
            );
        }
        table
    }

    /// Writes `limits.md` and `limits.json` into `folder`, which is made if it is not there.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("limits.md"), self.markdown())?;
        let text = serde_json::to_string_pretty(&self.json())?;
        Ok(fs::write(folder.join("limits.json"), text + "\n")?)
    }

    fn markdown(&self) -> String {
        let Machine { date, cpu, kernel, commit, cores } = &self.machine;
        format!(
            "# Against what the kernel allows, {date}\n\n\
             {cpu}, {cores} cores, Linux {kernel}; commit {commit}; driver {}; {} rounds of {} s, \
             servers in turns.\n\n\
             Values are server CPU time unless the unit says otherwise. A ratio is taken between \
             runs of the same round; the median of the rounds counts.\n\n{}",
            self.driver,
            self.rounds,
            self.seconds,
            self.table()
        )
    }

    fn json(&self) -> Value {
        let rows = self.outcomes.iter().map(|outcome| {
            let ratio = outcome.ratio();
            let subjects = outcome.subjects.iter().map(|subject| {
                json!({
                    "name": subject.name, "median": subject.median(), "values": subject.values,
                })
            });
            json!({
                "name": outcome.name, "unit": outcome.unit,
                "subjects": subjects.collect::<Vec<_>>(),
                "against": ratio.against, "ratio": ratio.median,
                "ratio_lowest": ratio.lowest, "ratio_highest": ratio.highest,
                "target": outcome.target, "met": outcome.is_met(),
            })
        });
        json!({
            "date": self.machine.date, "cpu": self.machine.cpu, "cores": self.machine.cores,
            "kernel": self.machine.kernel, "commit": self.machine.commit,
            "driver": self.driver, "rounds": self.rounds, "seconds": self.seconds,
            "rows": rows.collect::<Vec<_>>(),
        })
    }
}

/// The middle value, or the mean of the two in the middle; not a number if there are none.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::ROWS;

    fn outcome(own: &[f64], ring: &[f64], epoll: &[f64]) -> Outcome {
        let subject = |name, values: &[f64]| Subject { name, values: values.into() };
        Outcome {
            name: "a row".into(),
            unit: "ns/message",
            target: 1.10,
            subjects: vec![
                subject("ringsock", own),
                subject("raw-ring", ring),
                subject("raw-epoll", epoll),
            ],
        }
    }

    #[test]
    fn the_median_of_an_even_count_is_between_the_two_in_the_middle() {
        assert_eq!(median(&[4.0, 1.0, 3.0]), 3.0);
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn the_ratio_is_taken_round_by_round_to_the_better_raw_server() {
        // The machine was twice as slow in the last round.
        let outcome = outcome(&[105.0, 110.0, 212.0], &[100.0, 100.0, 200.0], &[120.0; 3]);
        let ratio = outcome.ratio();
        assert_eq!(ratio.against, "raw-ring");
        assert!((ratio.median - 1.06).abs() < 1e-9);
        assert!((ratio.highest - 1.10).abs() < 1e-9);
        assert!(outcome.is_met());
    }

    #[test]
    fn a_row_without_a_raw_server_is_met_by_its_value() {
        let row = ROWS.iter().find(|row| row.raw.is_empty()).unwrap();
        let mut outcome = Outcome::new(row);
        outcome.subjects[0].values = vec![row.target - 1.0, row.target + 1.0, row.target];
        assert!(outcome.is_met());
        outcome.subjects[0].values.push(row.target + 1.0);
        assert!(!outcome.is_met());
    }

    #[test]
    fn a_row_that_was_not_measured_is_not_met() {
        assert!(!Outcome::new(&ROWS[0]).is_met());
    }
}
