//! What came out for one row: who was measured, who was not, and how that compares with what was
//! wanted.
//!
//! Nothing is measured here; ratios are the only thing computed.

use serde::{Deserialize, Serialize};

use crate::numbers::with_unit;
use crate::rows::{Row, Target};

/// What came out for one row.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) group: String,
    pub(crate) unit: String,
    /// What is judged first; then whoever it is compared with. Without samples: it failed.
    pub(crate) subjects: Vec<Subject>,
    /// Who failed, and how.
    pub(crate) absent: Vec<Absence>,
    pub(crate) verdicts: Vec<Verdict>,
}

/// The samples of one server or function, one for each round.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Subject {
    pub(crate) name: String,
    pub(crate) samples: Vec<Sample>,
}

/// One run.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Sample {
    /// In the unit of the row.
    pub(crate) value: f64,
    /// What was done in a second, by a server and a client that share the machine.
    pub(crate) per_second: Option<f64>,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    /// What server and client agreed on, where the row is about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) agreement: Option<String>,
    /// What the load generator says is to be known before the run is believed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
}

/// Why there is no value.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Absence {
    pub(crate) name: String,
    pub(crate) reason: String,
}

/// A ratio that was wanted, and the one there is.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Verdict {
    /// Who was compared with, or was to be; none if the value itself is meant.
    pub(crate) against: Option<String>,
    pub(crate) at_most: f64,
    /// None if one of those to be compared was not measured.
    #[serde(flatten)]
    pub(crate) reached: Option<Reached>,
}

/// A ratio: median, lowest and highest of the rounds.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Reached {
    pub(crate) ratio: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
}

/// How a target stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Met,
    /// Also when what is judged could not do the work.
    Missed,
    /// Somebody to compare with is missing, so nothing can be said.
    NotMeasured,
}

impl Sample {
    /// A value with nothing beside it.
    pub(crate) fn of(value: f64) -> Self {
        Self { value, ..Self::default() }
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

impl Outcome {
    /// A row of which nothing has been measured yet.
    pub(crate) fn new<'a>(row: &Row, names: impl IntoIterator<Item = &'a str>) -> Self {
        let subject = |name: &str| Subject { name: name.into(), samples: Vec::new() };
        Self {
            name: row.name.into(),
            group: row.group.into(),
            unit: row.unit().into(),
            subjects: names.into_iter().map(subject).collect(),
            absent: Vec::new(),
            verdicts: Vec::new(),
        }
    }

    /// Whom the name belongs to, if it has values.
    pub(crate) fn subject(&self, name: &str) -> Option<&Subject> {
        self.subjects.iter().find(|subject| subject.name == name && !subject.samples.is_empty())
    }

    /// What is judged, if it has values.
    pub(crate) fn own(&self) -> Option<&Subject> {
        self.subjects.first().filter(|subject| !subject.samples.is_empty())
    }

    /// Adds a run.
    pub(crate) fn add(&mut self, name: &str, sample: Sample) {
        if let Some(subject) = self.subjects.iter_mut().find(|subject| subject.name == name) {
            subject.samples.push(sample);
        }
    }

    /// Takes a server out that failed; what it did before is not counted either.
    pub(crate) fn leave_out(&mut self, name: &str, reason: String) {
        let failed = self.subjects.iter_mut().filter(|subject| subject.name == name);
        failed.for_each(|subject| subject.samples.clear());
        self.absent.push(Absence { name: name.into(), reason });
    }

    /// Judges what was wanted.
    pub(crate) fn judge(&mut self, targets: &[Target]) {
        self.verdicts = targets.iter().map(|target| self.verdict(target)).collect();
    }

    fn verdict(&self, target: &Target) -> Verdict {
        let all: Option<Vec<&Subject>> =
            target.against.iter().map(|name| self.subject(name)).collect();
        let best = |all: &[&Subject]| -> Option<usize> {
            (0..all.len()).min_by(|&a, &b| all[a].median().total_cmp(&all[b].median()))
        };
        let best = all.as_deref().and_then(|all| best(all).map(|index| all[index]));
        let against = match best {
            Some(best) => Some(best.name.clone()),
            None => (!target.against.is_empty()).then(|| target.against.join(" or ")),
        };
        let reached = self.own().zip(all).map(|(own, _)| Reached::of(own, best));
        Verdict { against, at_most: target.at_most, reached }
    }

    /// How a target of this row stands.
    pub(crate) fn standing(&self, verdict: &Verdict) -> Standing {
        match verdict.reached {
            Some(reached) if reached.ratio <= verdict.at_most => Standing::Met,
            Some(_) => Standing::Missed,
            None if self.own().is_none() => Standing::Missed,
            None => Standing::NotMeasured,
        }
    }

    /// What came out, in a few words.
    pub(crate) fn summary(&self) -> String {
        let word = |verdict: &Verdict| {
            let number = |value: f64| match &verdict.against {
                Some(_) => format!("{value:.3}"),
                None => with_unit(value, &self.unit),
            };
            let against = verdict.against.as_deref().unwrap_or("itself");
            let reached = verdict.reached.map_or_else(String::new, |it| number(it.ratio));
            let wanted = number(verdict.at_most);
            match self.standing(verdict) {
                Standing::Met => format!(" {against} {reached} of {wanted}: met"),
                Standing::Missed => format!(" {against} {reached} of {wanted}: MISSED"),
                Standing::NotMeasured => format!(" {against}: not measured"),
            }
        };
        let absence = |absence: &Absence| format!("\n  {}: {}", absence.name, absence.reason);
        let words = self.verdicts.iter().map(word).collect::<Vec<_>>().join(",");
        words + &self.absent.iter().map(absence).collect::<String>()
    }
}

impl Reached {
    /// Both of a ratio ran in the same round, so a round in which the machine was slow gives the
    /// same ratio as one in which it was fast. Without another, the value itself.
    fn of(own: &Subject, other: Option<&Subject>) -> Self {
        let ratios: Vec<f64> = match other {
            Some(other) => own.values().zip(other.values()).map(|(own, it)| own / it).collect(),
            None => own.values().collect(),
        };
        Self {
            ratio: median(ratios.iter().copied()),
            lowest: lowest(ratios.iter().copied()),
            highest: highest(ratios.iter().copied()),
        }
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

    /// An outcome with these values, what is judged first.
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

    const RAW: Target = Target { against: &["raw-ring", "raw-epoll"], at_most: 1.10 };

    fn standings(outcome: &Outcome) -> Vec<Standing> {
        outcome.verdicts.iter().map(|verdict| outcome.standing(verdict)).collect()
    }

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
        let reached = verdict.reached.unwrap();
        assert!((reached.ratio - 1.06).abs() < 1e-9);
        assert!((reached.highest - 1.10).abs() < 1e-9);
        assert_eq!(standings(&outcome), [Standing::Met]);
    }

    #[test]
    fn a_target_for_the_value_itself_needs_nobody_else() {
        let mut outcome = outcome(&[(OWN, &[255.0, 257.0, 256.0])]);
        let target = [Target { against: &[], at_most: 256.0 }];
        outcome.judge(&target);
        assert_eq!(standings(&outcome), [Standing::Met]);
        outcome.subjects[0].samples.push(Sample::of(257.0));
        outcome.judge(&target);
        assert_eq!(standings(&outcome), [Standing::Missed]);
    }

    #[test]
    fn without_one_of_those_to_compare_with_nothing_is_said() {
        let mut outcome = outcome(&[(OWN, &[1.0]), ("raw-ring", &[1.0]), ("raw-epoll", &[9.0])]);
        outcome.leave_out("raw-epoll", "it fell".into());
        outcome.judge(&[RAW, Target { against: &["uWebSockets"], at_most: 0.8 }]);
        assert_eq!(standings(&outcome), [Standing::NotMeasured; 2]);
        assert_eq!(outcome.verdicts[0].against.as_deref(), Some("raw-ring or raw-epoll"));
        assert_eq!(outcome.absent[0].reason, "it fell");
    }

    #[test]
    fn a_server_under_test_that_fails_has_missed_its_targets() {
        let mut outcome = outcome(&[(OWN, &[1.0]), ("raw-ring", &[1.0]), ("raw-epoll", &[9.0])]);
        outcome.leave_out(OWN, "it fell".into());
        outcome.judge(&[RAW, Target { against: &[], at_most: 256.0 }]);
        assert_eq!(standings(&outcome), [Standing::Missed; 2]);
    }
}
