//! The record as pictures: one figure for each group of rows, one panel for each row, one bar for
//! each server, shorter is better.
//!
//! No number is computed here but places on the page. Colours are those of the style sheet beside
//! this file, which follows the reader's choice of light or dark.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::Result;
use crate::numbers::with_unit;
use crate::outcome::{Outcome, Subject};
use crate::record::Record;
use crate::rows::FUNCTIONS;

const STYLE: &str = include_str!("style.css");

const WIDTH: f64 = 860.0;
const MARGIN: f64 = 28.0;
/// Where bars begin and the longest ends; values are written behind them.
const BAR_LEFT: f64 = 204.0;
const BAR_RIGHT: f64 = WIDTH - MARGIN - 84.0;
const HEADER_HEIGHT: f64 = 102.0;
const PANEL_HEADER_HEIGHT: f64 = 34.0;
const LINE_HEIGHT: f64 = 23.0;
const BAR_HEIGHT: f64 = 14.0;
const PANEL_GAP: f64 = 20.0;
/// A bar longer than this many of ours is cut, so that the others can be told apart.
const LONGEST: f64 = 7.0;

/// Writes a figure for each group into `folder`; returns their names.
pub(crate) fn write(record: &Record, folder: &Path) -> Result<Vec<String>> {
    let mut groups: Vec<&str> = record.rows.iter().map(|row| &*row.group).collect();
    groups.sort_unstable();
    groups.dedup();
    let mut names = Vec::new();
    for group in groups {
        // A single bar compares nothing.
        let is_drawn = |row: &&Outcome| row.group == group && row.subjects.len() > 1;
        let rows: Vec<&Outcome> = record.rows.iter().filter(is_drawn).collect();
        if rows.is_empty() {
            continue;
        }
        let name = format!("{}.svg", group.replace(' ', "-"));
        fs::write(folder.join(&name), figure(record, group, &rows))?;
        names.push(name);
    }
    Ok(names)
}

fn figure(record: &Record, group: &str, rows: &[&Outcome]) -> String {
    let panels: String;
    let height = {
        let mut top = HEADER_HEIGHT;
        let mut text = String::new();
        for row in rows {
            top = panel(&mut text, row, top) + PANEL_GAP;
        }
        panels = text;
        top - PANEL_GAP + MARGIN
    };
    let machine = &record.machine;
    let origin = format!(
        "Shorter is better. {}, {}, Linux {}; medians of {} rounds, thin lines from lowest to highest.",
        machine.date, machine.cpu, machine.kernel, record.rounds
    );
    let title = match group {
        "connections" => "What a connection costs the server".into(),
        "latency" => "Latency at a fixed rate, from when a message was due".into(),
        FUNCTIONS => "CPU time of single functions".into(),
        group => format!("Server CPU: {group}"),
    };
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n\
         <defs><pattern id=\"hatch\" width=\"5\" height=\"5\" patternTransform=\"rotate(45)\" \
         patternUnits=\"userSpaceOnUse\"><line class=\"hatch\" y2=\"5\"/></pattern></defs>\n\
         <rect class=\"ground\" x=\".5\" y=\".5\" width=\"{}\" height=\"{}\" rx=\"10\"/>\n\
         <text class=\"title\" x=\"{MARGIN}\" y=\"42\">{title}</text>\n\
         <text class=\"origin\" x=\"{MARGIN}\" y=\"62\">{}</text>\n\
         <text class=\"origin\" x=\"{MARGIN}\" y=\"79\">Hatched and dotted: the kernel's part alone, \
         or a plain copy.</text>\n{panels}</svg>\n",
        WIDTH - 1.0,
        height - 1.0,
        escaped(&origin),
    )
}

/// Draws a row from `top` on; returns where it ends.
fn panel(svg: &mut String, row: &Outcome, top: f64) -> f64 {
    let mut subjects: Vec<&Subject> =
        row.subjects.iter().filter(|subject| !subject.samples.is_empty()).collect();
    subjects.sort_by(|a, b| {
        (!is_raw(a), a.median())
            .partial_cmp(&(!is_raw(b), b.median()))
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    let longest = subjects.iter().map(|subject| subject.spread().1).fold(0.0, f64::max);
    let own = row.own().map_or(longest, Subject::median);
    let scale = Scale { longest: longest.min(own * LONGEST) };
    let y = top + 14.0;
    let _ =
        writeln!(svg, "<text class=\"row\" x=\"{MARGIN}\" y=\"{y}\">{}</text>", escaped(&row.name));
    let mut line = top + PANEL_HEADER_HEIGHT;
    let bars_top = line;
    for subject in &subjects {
        bar(svg, row, subject, &scale, line);
        line += LINE_HEIGHT;
    }
    // What bears an easier load marks no limit of this one.
    let limits = subjects.iter().filter(|subject| is_raw(subject) && !subject.name.contains(','));
    if let Some(limit) = limits.map(|subject| subject.median()).reduce(f64::min) {
        let (x, from, to) = (scale.place(limit), bars_top - 8.0, line - 4.0);
        let _ = writeln!(
            svg,
            "<line class=\"limit\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{from}\" y2=\"{to}\"/>"
        );
    }
    line
}

fn bar(svg: &mut String, row: &Outcome, subject: &Subject, scale: &Scale, top: f64) {
    let (median, (lowest, highest)) = (subject.median(), subject.spread());
    let own = row.own().is_some_and(|own| own.name == subject.name);
    let class = match () {
        () if own => "bar-own",
        () if is_raw(subject) => "bar-raw",
        () => "bar",
    };
    let emphasis = if own { " own" } else { "" };
    let middle = top + BAR_HEIGHT / 2.0;
    let baseline = top + 11.5;
    let label = BAR_LEFT - 12.0;
    let width = (scale.place(median) - BAR_LEFT).max(1.0);
    let _ = writeln!(
        svg,
        "<text class=\"server{emphasis}\" x=\"{label}\" y=\"{baseline}\">{}</text>\n\
         <rect class=\"{class}\" x=\"{BAR_LEFT}\" y=\"{top}\" width=\"{width:.1}\" height=\"{BAR_HEIGHT}\" rx=\"3\"/>",
        escaped(&subject.name),
    );
    let cut = median > scale.longest;
    if cut {
        let (from, to) = (BAR_RIGHT - 26.0, BAR_RIGHT - 20.0);
        let _ = writeln!(
            svg,
            "<path class=\"break\" d=\"M{from} {} L{to} {} M{} {} L{} {}\"/>",
            top + BAR_HEIGHT + 2.0,
            top - 2.0,
            from + 7.0,
            top + BAR_HEIGHT + 2.0,
            to + 7.0,
            top - 2.0,
        );
    } else if highest > lowest {
        let (from, to) = (scale.place(lowest), scale.place(highest));
        let _ = writeln!(
            svg,
            "<line class=\"whisker\" x1=\"{from:.1}\" x2=\"{to:.1}\" y1=\"{middle}\" y2=\"{middle}\"/>"
        );
    }
    let end = if cut { BAR_RIGHT } else { scale.place(highest.max(median)) };
    let _ = writeln!(
        svg,
        "<text class=\"value{emphasis}\" x=\"{:.1}\" y=\"{baseline}\">{}</text>",
        end + 8.0,
        with_unit(median, &row.unit),
    );
}

/// From values to places across the page.
struct Scale {
    longest: f64,
}

impl Scale {
    fn place(&self, value: f64) -> f64 {
        let share = if self.longest > 0.0 { (value / self.longest).min(1.0) } else { 0.0 };
        BAR_LEFT + share * (BAR_RIGHT - BAR_LEFT)
    }
}

fn is_raw(subject: &Subject) -> bool {
    subject.name.starts_with("raw-") || subject.name == "memcpy"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contestants::OWN;
    use crate::outcome::tests::outcome;
    use crate::record::tests::record;

    #[test]
    fn a_bar_is_as_long_as_its_value_and_one_beyond_the_scale_is_cut() {
        let row = outcome(&[(OWN, &[100.0]), ("raw-ring", &[80.0]), ("ws", &[9000.0])]);
        let record = record(vec![row]);
        let svg = figure(&record, "echo", &[&record.rows[0]]);
        let width = |class: &str| -> f64 {
            let bar =
                svg.lines().find(|line| line.contains(&format!("class=\"{class}\" x="))).unwrap();
            let (_, rest) = bar.split_once("width=\"").unwrap();
            rest.split('"').next().unwrap().parse().unwrap()
        };
        assert!((width("bar-own") / width("bar-raw") - 1.25).abs() < 0.01);
        assert!((width("bar") / width("bar-own") - LONGEST).abs() < 0.05);
        assert_eq!(svg.matches("class=\"break\"").count(), 1);
        assert!(svg.contains(">9,000 ns<"));
    }

    #[test]
    fn rows_of_one_are_not_drawn_and_easier_loads_mark_no_limit() {
        let folder = std::env::temp_dir().join(format!("ringsock-plots-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let alone = Outcome { group: "alone".into(), ..outcome(&[(OWN, &[100.0])]) };
        let both = outcome(&[(OWN, &[100.0]), ("raw-ring, one shard", &[80.0])]);
        let names = write(&record(vec![alone, both]), &folder).unwrap();
        let svg = fs::read_to_string(folder.join("echo.svg")).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(names, ["echo.svg"]);
        assert!(!svg.contains("class=\"limit\""));
    }

    #[test]
    fn names_cannot_break_the_picture() {
        assert_eq!(escaped("a<b & c>"), "a&lt;b &amp; c&gt;");
    }
}
