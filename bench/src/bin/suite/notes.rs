//! Footnotes of the tables: what the load generator warned of, each kind told once for all whom it
//! concerns.
//!
//! Nothing is judged here; the load generator knows when it doubts a run.

use std::collections::BTreeSet;

use crate::outcome::Subject;

/// The footnotes of a page, in the order in which they were needed.
#[derive(Debug, Default)]
pub(crate) struct Notes(Vec<Note>);

#[derive(Debug)]
struct Note {
    kind: String,
    example: String,
}

impl Notes {
    /// Marks for those who stand together in a cell: one for each kind of warning that half of the
    /// runs of one of them had.
    pub(crate) fn marks<'a>(&mut self, subjects: impl IntoIterator<Item = &'a Subject>) -> String {
        let mut numbers = BTreeSet::new();
        for subject in subjects {
            for sample in &subject.samples {
                for warning in &sample.warnings {
                    let kind = kind(warning);
                    if is_usual(&kind, subject) {
                        numbers.insert(self.number(kind, warning));
                    }
                }
            }
        }
        let numbers: Vec<String> = numbers.iter().map(usize::to_string).collect();
        if numbers.is_empty() {
            return String::new();
        }
        format!("<sup>{}</sup>", numbers.join(", "))
    }

    fn number(&mut self, kind: String, warning: &str) -> usize {
        let known = self.0.iter().position(|note| note.kind == kind);
        let index = known.unwrap_or_else(|| {
            self.0.push(Note { kind, example: warning.to_owned() });
            self.0.len() - 1
        });
        index + 1
    }

    /// The footnotes, a paragraph each; nothing if there are none.
    pub(crate) fn paragraphs(&self) -> String {
        let paragraph = |(index, note): (usize, &Note)| {
            let number = index + 1;
            format!(
                "\n<sup>{number}</sup> In half of the runs or more ringload warned, with numbers of \
                 one of them: {}.\n",
                note.example.trim_end_matches('.')
            )
        };
        self.0.iter().enumerate().map(paragraph).collect()
    }
}

/// A warning without what differs from run to run: its first clause, without the numbers.
fn kind(warning: &str) -> String {
    let clause = warning.split(':').next().unwrap_or_default();
    clause.chars().filter(|letter| !letter.is_ascii_digit() && *letter != '.').collect()
}

fn is_usual(kind: &str, subject: &Subject) -> bool {
    let has = |warnings: &Vec<String>| warnings.iter().any(|warning| self::kind(warning) == kind);
    let runs = subject.samples.iter().filter(|sample| has(&sample.warnings)).count();
    runs * 2 >= subject.samples.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Sample;

    fn subject(runs: &[&[&str]]) -> Subject {
        let sample = |warnings: &&[&str]| Sample {
            warnings: warnings.iter().map(|&warning| warning.to_owned()).collect(),
            ..Sample::of(1.0)
        };
        Subject { name: "it".into(), samples: runs.iter().map(sample).collect() }
    }

    #[test]
    fn a_kind_of_warning_is_told_once_whatever_its_numbers() {
        let mut notes = Notes::default();
        let first = subject(&[&["the client used 99 %: ask for 1.5 less"], &[]]);
        let second = subject(&[&["the client used 100 %: ask for 12 less", "it was late"]]);
        assert_eq!(notes.marks([&first]), "<sup>1</sup>");
        assert_eq!(notes.marks([&second]), "<sup>1, 2</sup>");
        assert_eq!(notes.marks([&first, &second]), "<sup>1, 2</sup>");
        let text = notes.paragraphs();
        assert!(text.contains("the client used 99 %: ask for 1.5 less.\n"), "{text}");
        assert_eq!(text.matches("<sup>").count(), 2);
    }

    #[test]
    fn what_happened_in_few_runs_makes_no_mark() {
        let mut notes = Notes::default();
        assert_eq!(notes.marks([&subject(&[&["late"], &[], &[]])]), "");
        assert_eq!(notes.marks([&subject(&[&[], &[]])]), "");
        assert_eq!(notes.paragraphs(), "");
    }
}
