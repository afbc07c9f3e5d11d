//! The record as Markdown, and its place in the pages that show it.
//!
//! Nothing is judged here; pages keep everything outside of the markers.

use std::fs;
use std::path::Path;

use crate::Result;
use crate::contestants::OWN;
use crate::notes::Notes;
use crate::numbers::{deviation, with_spread, with_unit};
use crate::outcome::{Outcome, Standing, Subject, Verdict};
use crate::record::Record;
use crate::rows::FUNCTIONS;

/// What stands around the generated part of a page.
const BEGIN: &str = "<!-- measured: begin; written by scripts/bench, not by hand -->";
const END: &str = "<!-- measured: end -->";

/// The best of these stands in the column of the limit.
const RAW: [&str; 2] = ["raw-ring", "raw-epoll"];

/// The table of the project's README: the limit, the server under test, and those with a headline.
pub(crate) fn headline(record: &Record, folder: &str) -> String {
    let peers = record.peers.iter().filter(|peer| peer.headline);
    let peers: Vec<&str> = peers.map(|peer| peer.name.as_str()).collect();
    let mut text = format!(
        "{}\n\n| server CPU, memory or latency | kernel alone | **ringsock** |",
        origin(record)
    );
    for peer in &peers {
        text += &format!(" {peer} |");
    }
    text += "\n|---|---|---|";
    text += &"---|".repeat(peers.len());
    text.push('\n');
    let mut notes = Notes::default();
    for outcome in record.rows.iter().filter(|outcome| outcome.group != FUNCTIONS) {
        let raw = RAW.iter().filter_map(|name| outcome.subject(name));
        let raw = raw.min_by(|a, b| a.median().total_cmp(&b.median()));
        let own = brief(outcome, outcome.subject(OWN), &mut notes);
        text += &format!("| {} | {} | **{own}** |", outcome.name, brief(outcome, raw, &mut notes));
        for peer in &peers {
            text += &format!(" {} |", brief(outcome, outcome.subject(peer), &mut notes));
        }
        text.push('\n');
    }
    text += &notes.paragraphs();
    text + &format!(
        "\n± is the run furthest from the median. {}. All servers, targets and plots: \
         [`{folder}`]({folder}).\n",
        score(record)
    )
}

/// The tables of the page on measuring, also the page of the record itself. `findings` is what
/// people say about its misses.
pub(crate) fn full(record: &Record, findings: Option<&str>) -> String {
    let mut text = origin(record);
    text += &format!(
        "\n\n### Wanted and reached\n\n{}.\n\n\
        | measure | against | ratio (lowest - highest) | wanted | |\n|---|---|---|---|---|\n",
        score(record)
    );
    let mut notes = Notes::default();
    for outcome in &record.rows {
        for verdict in &outcome.verdicts {
            text += &verdict_line(outcome, verdict, &mut notes);
        }
    }
    if let Some(findings) = findings {
        text += &format!("\n### What profiles say about the misses\n\n{findings}\n");
    }
    text += "\n### Medians (lowest - highest)\n";
    let mut groups: Vec<&str> = record.rows.iter().map(|outcome| &*outcome.group).collect();
    groups.dedup();
    let mut written = Vec::new();
    for group in groups {
        if !written.contains(&group) {
            written.push(group);
            let rows: Vec<_> = record.rows.iter().filter(|row| row.group == group).collect();
            text += &format!("\n#### {}\n\n{}", capitalized(group), medians(&rows, &mut notes));
        }
    }
    text += &notes.paragraphs();
    if !record.functions.is_empty() {
        text += "\n#### More functions, by criterion\n\n| function | time |\n|---|---|\n";
        for function in &record.functions {
            let time = with_unit(function.nanoseconds, "ns");
            text += &format!("| `{}` | {time} |\n", function.name);
        }
    }
    text + &versions(record)
}

fn origin(record: &Record) -> String {
    let machine = &record.machine;
    format!(
        "{}, {} on {} cores, Linux {}, commit {}; {} rounds of {} s, servers in turns; medians.",
        machine.date,
        machine.cpu,
        machine.cores,
        machine.kernel,
        machine.commit,
        record.rounds,
        record.seconds,
    )
}

/// How the targets stand.
fn score(record: &Record) -> String {
    let [met, missed, unknown] = [Standing::Met, Standing::Missed, Standing::NotMeasured]
        .map(|standing| record.count(standing));
    format!("Targets: {met} met, {missed} missed, {unknown} not measured")
}

fn verdict_line(outcome: &Outcome, verdict: &Verdict, notes: &mut Notes) -> String {
    let is_value = verdict.against.is_none();
    let number = |value: f64| match is_value {
        true => with_unit(value, &outcome.unit),
        false => format!("{value:.3}"),
    };
    let wanted = match is_value {
        true => with_unit(verdict.at_most, &outcome.unit),
        false => format!("{:.2}", verdict.at_most),
    };
    let reached = match verdict.reached {
        Some(reached) => {
            let [ratio, lowest, highest] =
                [reached.ratio, reached.lowest, reached.highest].map(number);
            format!("{ratio} ({lowest} - {highest})")
        }
        None => "-".into(),
    };
    let standing = match outcome.standing(verdict) {
        Standing::Met => "met",
        Standing::Missed if verdict.reached.is_none() => "**missed**, it failed",
        Standing::Missed => "**missed**",
        Standing::NotMeasured => "not measured",
    };
    let other = verdict.against.as_deref().and_then(|name| outcome.subject(name));
    let marks = notes.marks(outcome.own().into_iter().chain(other));
    let against = verdict.against.as_deref().unwrap_or("-");
    format!("| {} | {against} | {reached}{marks} | ≤ {wanted} | {standing} |\n", outcome.name)
}

/// Servers down, rows across: there are more of those.
fn medians(rows: &[&Outcome], notes: &mut Notes) -> String {
    let mut names: Vec<&str> = Vec::new();
    for subject in rows.iter().flat_map(|row| &row.subjects) {
        if !names.contains(&&*subject.name) {
            names.push(&subject.name);
        }
    }
    let mut text = String::from("| |");
    rows.iter().for_each(|row| text += &format!(" {} |", row.name));
    text += &format!("\n|---|{}\n", "---|".repeat(rows.len()));
    for name in names {
        text += &format!("| {name} |");
        rows.iter().for_each(|row| text += &format!(" {} |", cell(row, row.subject(name), notes)));
        text.push('\n');
    }
    for row in rows {
        text += &agreements(row);
        for absence in &row.absent {
            text += &format!("\n{}: {} is missing, {}.\n", row.name, absence.name, absence.reason);
        }
    }
    text
}

/// What was agreed with whom, where the row is about it.
fn agreements(row: &Outcome) -> String {
    let mut all: Vec<(&str, Vec<&str>)> = Vec::new();
    for subject in &row.subjects {
        let agreements = subject.samples.iter().filter_map(|sample| sample.agreement.as_deref());
        for agreement in agreements.take(1) {
            match all.iter_mut().find(|(known, _)| *known == agreement) {
                Some((_, names)) => names.push(&subject.name),
                None => all.push((agreement, vec![&subject.name])),
            }
        }
    }
    let told: Vec<String> = all
        .iter()
        .map(|(agreement, names)| format!("{agreement} ({})", names.join(", ")))
        .collect();
    if told.is_empty() { String::new() } else { format!("\n{}: {}.\n", row.name, told.join(", ")) }
}

/// A median with its spread, if there is more than one run.
fn cell(outcome: &Outcome, subject: Option<&Subject>, notes: &mut Notes) -> String {
    let Some(subject) = subject else { return "-".into() };
    let (median, unit) = (subject.median(), &outcome.unit);
    let value = match subject.samples.len() {
        1 => with_unit(median, unit),
        _ => with_spread(median, subject.spread(), unit),
    };
    value + &notes.marks([subject])
}

/// The same with how far runs were from the median, where there is less room.
fn brief(outcome: &Outcome, subject: Option<&Subject>, notes: &mut Notes) -> String {
    let Some(subject) = subject else { return "-".into() };
    let median = subject.median();
    let value = with_unit(median, &outcome.unit);
    let value = match subject.samples.len() {
        1 => value,
        _ => format!("{value} {}", deviation(median, subject.spread())),
    };
    value + &notes.marks([subject])
}

fn versions(record: &Record) -> String {
    let peers = record.peers.iter().map(|peer| format!("{} {}", peer.name, peer.version));
    let peers: Vec<String> = peers.collect();
    if peers.is_empty() { String::new() } else { format!("\nVersions: {}.\n", peers.join(", ")) }
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Puts `table` between the markers of a page.
pub(crate) fn publish(page: &Path, table: &str) -> Result<()> {
    let text = fs::read_to_string(page).map_err(|error| format!("{}: {error}", page.display()))?;
    let replaced = between_markers(&text, table)
        .ok_or_else(|| format!("{} has no place for measurements: {BEGIN}", page.display()))?;
    Ok(fs::write(page, replaced)?)
}

fn between_markers(text: &str, table: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{}\n{END}{after}", table.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::tests::outcome;
    use crate::record::tests::record;
    use crate::rows::Target;

    fn sample() -> Record {
        let mut row = outcome(&[
            (OWN, &[105.0, 107.0, 104.0]),
            ("raw-ring", &[100.0; 3]),
            ("raw-epoll", &[120.0]),
            ("uWebSockets", &[150.0]),
            ("websockets", &[40_000.0, 39_000.0, 41_500.0]),
        ]);
        row.leave_out("raw-epoll", "it fell".into());
        let target = |against: &'static [&'static str], at_most| Target { against, at_most };
        row.judge(&[target(&["raw-ring"], 1.01), target(&["raw-epoll"], 2.0), target(&[], 256.0)]);
        record(vec![row])
    }

    #[test]
    fn the_headline_has_the_limit_us_and_those_chosen() {
        let text = headline(&sample(), "bench/record/x");
        assert!(text.contains(
            "| server CPU, memory or latency | kernel alone | **ringsock** | uWebSockets |\n"
        ));
        let row = "| a row | 100 ns ± 0 % | **105 ns ± 2 %** | 150 ns |\n";
        assert!(text.contains(row), "{text}");
        assert!(text.contains("Targets: 1 met, 1 missed, 1 not measured."), "{text}");
    }

    #[test]
    fn the_full_tables_name_misses_absences_and_everybody() {
        let text = full(&sample(), None);
        for line in [
            "| a row | raw-ring | 1.050 (1.040 - 1.070) | ≤ 1.01 | **missed** |\n",
            "| a row | raw-epoll | - | ≤ 2.00 | not measured |\n",
            "| a row | - | 105 ns (104 ns - 107 ns) | ≤ 256 ns | met |\n",
            "| websockets | 40.0 µs (39.0 - 41.5) |\n",
            "| raw-epoll | - |\n",
            "raw-epoll is missing, it fell.",
            "| `mask/naive/20` | 12 ns |",
        ] {
            assert!(text.contains(line), "{line}\nis not in\n{text}");
        }
    }

    #[test]
    fn what_was_agreed_on_is_told_with_those_who_agreed() {
        let mut record = sample();
        for (index, suite) in [(0, "AES"), (1, "ChaCha"), (3, "AES")] {
            let samples = &mut record.rows[0].subjects[index].samples;
            samples.iter_mut().for_each(|sample| sample.agreement = Some(suite.into()));
        }
        let line = "\na row: AES (ringsock, uWebSockets), ChaCha (raw-ring).\n";
        assert!(full(&record, None).contains(line));
        assert!(!full(&sample(), None).contains("\na row: AES"));
    }

    #[test]
    fn what_people_found_stands_behind_the_misses() {
        let text = full(&sample(), Some("It was the cache."));
        let (before, after) = text.split_once("It was the cache.\n").unwrap();
        assert!(before.contains("**missed**") && after.contains("### Medians"));
        assert!(!full(&sample(), None).contains("profiles"));
    }

    #[test]
    fn who_was_limited_by_the_client_is_marked_wherever_it_stands() {
        let mut record = sample();
        let raw = &mut record.rows[0].subjects[1];
        raw.samples.iter_mut().for_each(|sample| sample.warnings.push("client busy".into()));
        let text = full(&record, None);
        let line = "| a row | raw-ring | 1.050 (1.040 - 1.070)<sup>1</sup> | ≤ 1.01 |";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("| raw-ring | 100 ns (100 - 100)<sup>1</sup> |"), "{text}");
        assert!(headline(&record, "x").contains("| 100 ns ± 0 %<sup>1</sup> |"));
        assert!(text.contains("client busy.\n"));
    }

    #[test]
    fn a_failure_of_the_server_under_test_is_a_miss() {
        let mut row = outcome(&[(OWN, &[]), ("raw-ring", &[100.0])]);
        row.leave_out(OWN, "it fell".into());
        row.judge(&[Target { against: &["raw-ring"], at_most: 1.01 }]);
        let text = full(&record(vec![row]), None);
        let line = "| a row | raw-ring | - | ≤ 1.01 | **missed**, it failed |\n";
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn only_what_stands_between_the_markers_is_replaced() {
        let page = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let replaced = between_markers(&page, "new\n").unwrap();
        assert_eq!(replaced, format!("before\n{BEGIN}\nnew\n{END}\nafter\n"));
        assert_eq!(between_markers(&replaced, "new\n").unwrap(), replaced);
        assert!(between_markers("no marker", "new").is_none());
    }
}
