//! The record as Markdown, and its place in the pages that show it.
//!
//! Nothing is judged here; pages keep everything outside of the markers.

use std::fs;
use std::path::Path;

use crate::Result;
use crate::contestants::OWN;
use crate::numbers::with_unit;
use crate::record::{Outcome, Record, Subject, Verdict};

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
    for outcome in record.rows.iter().filter(|outcome| outcome.group != "unmask") {
        let raw = RAW.iter().filter_map(|name| outcome.subject(name));
        let raw = raw.min_by(|a, b| a.median().total_cmp(&b.median()));
        let own = cell(outcome, outcome.subject(OWN));
        text += &format!("| {} | {} | **{own}** |", outcome.name, cell(outcome, raw));
        for peer in &peers {
            text += &format!(" {} |", cell(outcome, outcome.subject(peer)));
        }
        text.push('\n');
    }
    text + &format!("\nAll servers, spreads and plots: [`{folder}`]({folder}).\n")
}

/// The tables of the page on measuring, also the page of the record itself.
pub(crate) fn full(record: &Record) -> String {
    let mut text = origin(record);
    text += "\n\n### Wanted and reached\n\n\
        | measure | against | ratio (lowest - highest) | wanted | |\n|---|---|---|---|---|\n";
    for outcome in &record.rows {
        for verdict in &outcome.verdicts {
            text += &verdict_line(outcome, verdict);
        }
    }
    text += "\n### Medians\n";
    let mut groups: Vec<&str> = record.rows.iter().map(|outcome| &*outcome.group).collect();
    groups.dedup();
    let mut written = Vec::new();
    for group in groups {
        if !written.contains(&group) {
            written.push(group);
            let rows: Vec<_> = record.rows.iter().filter(|row| row.group == group).collect();
            text += &format!("\n#### {}\n\n{}", capitalized(group), medians(&rows));
        }
    }
    if !record.functions.is_empty() {
        text += "\n#### Functions\n\n| function | time |\n|---|---|\n";
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

fn verdict_line(outcome: &Outcome, verdict: &Verdict) -> String {
    let Verdict { ratio, lowest, highest, at_most, .. } = verdict;
    let verb = if verdict.is_met() { "met" } else { "**missed**" };
    let name = &outcome.name;
    match &verdict.against {
        Some(against) => format!(
            "| {name} | {against} | {ratio:.3} ({lowest:.3} - {highest:.3}) | ≤ {at_most:.2} | {verb} |\n"
        ),
        None => {
            let [ratio, lowest, highest, at_most] =
                [ratio, lowest, highest, at_most].map(|value| with_unit(*value, &outcome.unit));
            format!("| {name} | - | {ratio} ({lowest} - {highest}) | ≤ {at_most} | {verb} |\n")
        }
    }
}

/// Servers down, rows across: there are more of those.
fn medians(rows: &[&Outcome]) -> String {
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
        rows.iter().for_each(|row| text += &format!(" {} |", cell(row, row.subject(name))));
        text.push('\n');
    }
    for row in rows {
        for absence in &row.absent {
            text += &format!("\n{}: {} is missing, {}.\n", row.name, absence.name, absence.reason);
        }
    }
    text
}

fn cell(outcome: &Outcome, subject: Option<&Subject>) -> String {
    subject.map_or_else(|| "-".into(), |subject| with_unit(subject.median(), &outcome.unit))
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
    use crate::record::tests::{outcome, record};
    use crate::rows::Target;

    fn sample() -> Record {
        let mut row = outcome(&[
            (OWN, &[105.0]),
            ("raw-ring", &[100.0]),
            ("raw-epoll", &[120.0]),
            ("uWebSockets", &[150.0]),
            ("websockets", &[40_000.0]),
        ]);
        row.judge(&[Target { against: &["raw-ring"], at_most: 1.01 }]);
        row.leave_out("raw-epoll", "it fell".into());
        record(vec![row])
    }

    #[test]
    fn the_headline_has_the_limit_us_and_those_chosen() {
        let text = headline(&sample(), "bench/record/x");
        assert!(text.contains(
            "| server CPU, memory or latency | kernel alone | **ringsock** | uWebSockets |\n"
        ));
        assert!(text.contains("| a row | 100 ns | **105 ns** | 150 ns |\n"), "{text}");
    }

    #[test]
    fn the_full_tables_name_misses_absences_and_everybody() {
        let text = full(&sample());
        assert!(
            text.contains("| a row | raw-ring | 1.050 (1.050 - 1.050) | ≤ 1.01 | **missed** |")
        );
        assert!(text.contains("| websockets | 40.0 µs |\n"), "{text}");
        assert!(text.contains("raw-epoll is missing, it fell."));
        assert!(text.contains("| `mask/naive/20` | 12 ns |"), "{text}");
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
