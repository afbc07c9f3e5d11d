//! What happens with a result: it is printed, written in the forms that were asked for and judged.
//! Nothing is measured any more.

use std::path::Path;

use crate::cli::OutputArguments;
use crate::expect::{Expectation, FAULTS};
use crate::failure::Failure;
use crate::hgrm;
use crate::interrupt;
use crate::output::{say, say_aside, write_file};
use crate::page;
use crate::report::Outcome;
use crate::table_csv;

/// Exit code when something was lost or wrong.
const UNSOUND: u8 = 1;
/// Exit code when an expectation was missed.
const MISSED: u8 = 3;

/// Publishes a result; the exit code that it deserves.
pub(crate) fn publish(outcome: &Outcome, output: &OutputArguments) -> Result<u8, Failure> {
    let missed = missed(outcome, output.expect.as_ref());
    let doubts = output.expect.as_ref().map(|expectation| expectation.doubts(&outcome.figures));
    let doubts = doubts.unwrap_or_default();
    if output.json.as_deref() != Some(Path::new("-")) {
        say(&outcome.text);
        for warning in outcome.warnings.iter().chain(&doubts) {
            say(&format!("beware    {warning}\n"));
        }
        if let (Some(expectation), true) = (&output.expect, missed.is_empty()) {
            say(&format!("expected  {expectation}: met\n"));
        }
        if interrupt::is_interrupted() {
            say("stopped   by a signal: this is what was measured until then\n");
        }
    }
    for condition in &missed {
        say_aside(&format!("ringload: expectation missed: {condition}"));
    }
    if let Some(path) = &output.json {
        write_file("--json", path, &format!("{}\n", outcome.json))?;
    }
    if let Some(path) = &output.csv {
        write_file("--csv", path, &table_csv::of(&outcome.exhibit))?;
    }
    if let Some(path) = &output.hgrm {
        write_file("--hgrm", path, &hgrm::of(&outcome.exhibit)?)?;
        if let Some((path, text)) = hgrm::uncorrected(&outcome.exhibit, path) {
            write_file("--hgrm", &path, &text)?;
        }
    }
    if let Some(path) = &output.html {
        write_file("--html", path, &page::of(outcome, &missed))?;
    }
    Ok(exit_code(outcome, output.expect.as_ref(), &missed))
}

fn missed(outcome: &Outcome, expectation: Option<&Expectation>) -> Vec<String> {
    expectation.map(|expectation| expectation.missed(&outcome.figures)).unwrap_or_default()
}

/// An interrupted run is not judged. Otherwise what is lost or wrong makes it fail, unless a
/// condition says how much of it may be, and then what was expected.
fn exit_code(outcome: &Outcome, expectation: Option<&Expectation>, missed: &[String]) -> u8 {
    if interrupt::is_interrupted() {
        return interrupt::EXIT_CODE;
    }
    let allowed = |kind: &str| {
        let none = outcome.figures.get(kind) == Some(0.0);
        none || expectation.is_some_and(|expectation| expectation.names(kind))
    };
    let sound = outcome.sound || FAULTS.into_iter().all(allowed);
    match (sound && outcome.whole, missed.is_empty()) {
        (false, _) => UNSOUND,
        (true, false) => MISSED,
        (true, true) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expect::Figures;
    use crate::report::Errors;

    fn code(lost_messages: u64, wrong_messages: u64, expectation: &str) -> u8 {
        let errors = Errors { lost_messages, wrong_messages, ..Errors::default() };
        let figures = Figures::default().with_errors(&errors).with("p99", 3e6);
        let outcome = Outcome::new(&(), String::new(), errors.is_empty()).with_figures(figures);
        let expectation = (!expectation.is_empty()).then(|| expectation.parse().unwrap());
        let missed = missed(&outcome, expectation.as_ref());
        exit_code(&outcome, expectation.as_ref(), &missed)
    }

    #[test]
    fn no_condition_makes_up_for_what_was_not_measured() {
        let errors = Errors::default();
        let figures = Figures::default().with_errors(&errors);
        let outcome = Outcome::new(&(), String::new(), true).with_figures(figures);
        assert_eq!(exit_code(&outcome, None, &[]), 0);
        assert_eq!(exit_code(&outcome.whole_if(false), None, &[]), UNSOUND);
    }

    #[test]
    fn faults_fail_a_run_unless_a_condition_speaks_of_them() {
        assert_eq!(code(0, 0, ""), 0);
        assert_eq!(code(3, 0, ""), UNSOUND);
        assert_eq!(code(3, 0, "p99<5ms"), UNSOUND);
        assert_eq!(code(3, 0, "loss<10"), 0);
        assert_eq!(code(3, 0, "loss=0"), MISSED);
        assert_eq!(code(3, 1, "loss<10"), UNSOUND);
        assert_eq!(code(0, 0, "p99<5ms"), 0);
        assert_eq!(code(0, 0, "p99<2ms"), MISSED);
    }
}
