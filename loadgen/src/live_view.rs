//! What is seen while a run goes on: two lines that are drawn again and again on a terminal, a line
//! now and then elsewhere. It goes to standard error and is no result.

use std::collections::VecDeque;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use rustix::termios::tcgetwinsize;

use crate::output::{duration_text, grouped};
use crate::scoreboard::Totals;
use crate::timeline::Point;

/// Time between two lines where nothing can be drawn again.
const PLAIN_INTERVAL: Duration = Duration::from_secs(5);
/// Rates that the small chart shows.
const CHART_POINTS: usize = 24;
const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const PROGRESS_CELLS: usize = 24;
/// With fewer it shows nothing that the time does not.
const PROGRESS_CELLS_MIN: usize = 4;

const DIM: &str = "\x1b[2m";
const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[31m";
const CYAN: &str = "\x1b[36m";
const RESET: &str = "\x1b[0m";

/// How a run is doing.
#[derive(Debug)]
pub(crate) struct Glimpse<'a> {
    pub(crate) step: &'static str,
    pub(crate) passed: Duration,
    pub(crate) span: Option<Duration>,
    pub(crate) totals: &'a Totals,
    pub(crate) point: &'a Point,
}

/// The lines.
#[derive(Debug)]
pub(crate) struct LiveView {
    label: String,
    is_terminal: bool,
    drawn: bool,
    rates: VecDeque<f64>,
    told: Option<Instant>,
}

impl LiveView {
    /// Nothing is shown yet.
    pub(crate) fn new(label: String) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let told = (!is_terminal).then(Instant::now);
        Self { label, is_terminal, drawn: false, rates: VecDeque::new(), told }
    }

    /// Shows it, or not, if it was shown only just now.
    pub(crate) fn show(&mut self, glimpse: &Glimpse<'_>) {
        self.rates.push_back(glimpse.point.rate);
        if self.rates.len() > CHART_POINTS {
            self.rates.pop_front();
        }
        let text = if self.is_terminal {
            self.frame(glimpse)
        } else if self.told.is_some_and(|told| told.elapsed() >= PLAIN_INTERVAL) {
            self.told = Some(Instant::now());
            format!("{}\n", plain_line(&self.label, glimpse))
        } else {
            return;
        };
        let _ = std::io::stderr().write_all(text.as_bytes());
    }

    /// Takes the lines away.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.drawn) {
            let _ = std::io::stderr().write_all(b"\x1b[1A\r\x1b[J");
        }
    }

    fn frame(&mut self, glimpse: &Glimpse<'_>) -> String {
        let width = tcgetwinsize(std::io::stderr()).map_or(80, |size| size.ws_col.max(40)) as usize;
        let back = if std::mem::replace(&mut self.drawn, true) { "\x1b[1A\r\x1b[J" } else { "" };
        // One cell less than there are: a line that fills the last one may wrap.
        let [upper, lower] = [self.upper(glimpse, width - 1), self.lower(glimpse, width - 1)];
        format!("{back}{}\n{}", cut(&upper, width - 1), cut(&lower, width - 1))
    }

    /// Label, step, progress, time, connections and faults. Where there is little room the bar goes
    /// first, then the step, then the words for the faults and the connections, and then the end of
    /// the label.
    fn upper(&self, glimpse: &Glimpse<'_>, cells: usize) -> String {
        let Glimpse { step, passed, span, totals, .. } = glimpse;
        let of = span.map(|span| format!("/{:.0}", span.as_secs_f64())).unwrap_or_default();
        let time = format!("{:.0}{of} s", passed.as_secs_f64());
        let opened = grouped(totals.opened as f64);
        let opened = [format!("{opened} connections"), format!("{opened} open")];
        let [long, short] = [faults(totals), faults_sum(totals)].map(Option::unwrap_or_default);
        let seen = |text: &str, space: usize| match text.chars().count() {
            0 => 0,
            count => count + space,
        };
        let others = |(step, opened, faults): &(&str, &String, &String)| {
            seen(step, 1) + seen(&time, 1) + seen(opened, 2) + seen(faults, 2)
        };
        let shapes = [
            (*step, &opened[0], &long),
            ("", &opened[0], &long),
            ("", &opened[0], &short),
            ("", &opened[1], &short),
        ];
        let fits = |shape: &&_| self.label.chars().count() + others(shape) <= cells;
        let shape = *shapes.iter().find(fits).unwrap_or(&shapes[3]);
        let (step, opened, faults) = shape;
        let label: String = self.label.chars().take(cells.saturating_sub(others(&shape))).collect();
        let left = cells.saturating_sub(label.chars().count() + others(&shape) + 1);
        let left = left.min(PROGRESS_CELLS);
        let mut line = format!("{BOLD}{label}{RESET}");
        if !step.is_empty() {
            line += &format!(" {DIM}{step}{RESET}");
        }
        if let Some(span) = span.filter(|_| left >= PROGRESS_CELLS_MIN) {
            line += &format!(" {}", progress(*passed, span, left));
        }
        line += &format!(" {time}  {opened}");
        if !faults.is_empty() {
            line += &format!("  {RED}{faults}{RESET}");
        }
        line
    }

    /// Rates and latencies. Where there is little room the chart shows fewer rates or none, and then
    /// the median goes.
    fn lower(&self, glimpse: &Glimpse<'_>, cells: usize) -> String {
        let point = glimpse.point;
        let rate = format!("{}/s", grouped(point.rate));
        let mut quantiles = match point.max > 0.0 {
            false => Vec::new(),
            true => vec![("p50", point.p50), ("p99", point.p99), ("max", point.max)],
        };
        let text = |us: f64| duration_text(us * 1000.0);
        let needed = |quantiles: &[(&str, f64)]| {
            let all = quantiles.iter().map(|(name, us)| 3 + name.len() + text(*us).chars().count());
            rate.len() + all.sum::<usize>()
        };
        while needed(&quantiles) > cells && !quantiles.is_empty() {
            quantiles.remove(0);
        }
        let room = cells.saturating_sub(needed(&quantiles) + 1);
        let shown = self.rates.len().saturating_sub(room);
        let chart = chart(self.rates.iter().skip(shown).copied());
        let space = if chart.is_empty() { "" } else { " " };
        let mut line = format!("{CYAN}{chart}{RESET}{space}{BOLD}{rate}{RESET}");
        for (name, us) in quantiles {
            line += &format!("  {DIM}{name}{RESET} {}", text(us));
        }
        line
    }
}

impl Drop for LiveView {
    fn drop(&mut self) {
        self.clear();
    }
}

fn plain_line(label: &str, glimpse: &Glimpse<'_>) -> String {
    let Glimpse { step, passed, span, totals, point } = glimpse;
    let of = span.map(|span| format!(" of {:.0}", span.as_secs_f64())).unwrap_or_default();
    let mut line = format!(
        "{label}: {step}, {:.0}{of} s, {} connections, {}/s",
        passed.as_secs_f64(),
        grouped(totals.opened as f64),
        grouped(point.rate)
    );
    if point.max > 0.0 {
        line += &format!(
            ", p50 {}, p99 {}, max {}",
            duration_text(point.p50 * 1000.0),
            duration_text(point.p99 * 1000.0),
            duration_text(point.max * 1000.0)
        );
    }
    faults(totals).map_or(line.clone(), |faults| format!("{line}, {faults}"))
}

/// A bar that is full when the span has passed.
fn progress(passed: Duration, span: Duration, cells: usize) -> String {
    let share = (passed.as_secs_f64() / span.as_secs_f64().max(1e-9)).min(1.0);
    let full = (share * cells as f64) as usize;
    format!("{CYAN}{}{RESET}{DIM}{}{RESET}", "━".repeat(full), "━".repeat(cells - full))
}

/// What can go wrong: how often it has, and what it is called.
fn fault_counts(totals: &Totals) -> [(u64, &'static str); 4] {
    [
        (totals.lost, "connections lost"),
        (totals.wrong, "wrong"),
        (totals.duplicated, "twice"),
        (totals.reordered, "out of order"),
    ]
}

/// What has gone wrong so far, if anything has.
fn faults(totals: &Totals) -> Option<String> {
    let told: Vec<String> = fault_counts(totals)
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", grouped(count as f64)))
        .collect();
    (!told.is_empty()).then(|| told.join(", "))
}

/// How much has gone wrong, in short.
fn faults_sum(totals: &Totals) -> Option<String> {
    let all: u64 = fault_counts(totals).into_iter().map(|(count, _)| count).sum();
    (all > 0).then(|| format!("{} faults", grouped(all as f64)))
}

/// A bar for each number, the highest full.
fn chart(numbers: impl Iterator<Item = f64> + Clone) -> String {
    let highest = numbers.clone().fold(0.0, f64::max);
    let bar = |number: f64| match highest > 0.0 {
        true => BARS[((number / highest * 7.0).round() as usize).min(7)],
        false => BARS[0],
    };
    numbers.map(bar).collect()
}

/// The first `cells` visible characters; colours take no room.
fn cut(line: &str, cells: usize) -> String {
    let (mut text, mut left, mut in_escape) = (String::new(), cells, false);
    for character in line.chars() {
        let starts = character == '\x1b';
        if starts || in_escape {
            in_escape = starts || character != 'm';
        } else if left == 0 {
            continue;
        } else {
            left -= 1;
        }
        text.push(character);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_cut_by_what_is_seen_and_keeps_its_colours() {
        assert_eq!(cut("\x1b[1mhello\x1b[0m there", 7), "\x1b[1mhello\x1b[0m t");
        assert_eq!(cut("ab", 7), "ab");
    }

    #[test]
    fn the_chart_reaches_from_the_lowest_to_the_highest_bar() {
        assert_eq!(chart([0.0, 50.0, 100.0].into_iter()), "▁▅█");
        assert_eq!(chart([0.0, 0.0].into_iter()), "▁▁");
    }

    #[test]
    fn a_plain_line_tells_step_rate_latency_and_faults() {
        let totals = Totals { opened: 5, duplicated: 2, ..Totals::default() };
        let point = Point { rate: 1234.0, p50: 80.0, p99: 1200.0, max: 5000.0, ..Point::default() };
        let (passed, span) = (Duration::from_secs(3), Some(Duration::from_secs(10)));
        let glimpse = Glimpse { step: "measuring", passed, span, totals: &totals, point: &point };
        assert_eq!(
            plain_line("echo", &glimpse),
            "echo: measuring, 3 of 10 s, 5 connections, 1,234/s, p50 80.0 µs, p99 1.20 ms, \
             max 5.00 ms, 2 twice"
        );
    }

    /// Both lines as they are seen in so many cells.
    fn seen(view: &LiveView, glimpse: &Glimpse<'_>, cells: usize) -> String {
        let lines = [view.upper(glimpse, cells), view.lower(glimpse, cells)];
        for line in &lines {
            assert_eq!(&cut(line, cells), line, "it is wider than {cells} cells");
        }
        [DIM, BOLD, RED, CYAN, RESET]
            .iter()
            .fold(lines.join("\n"), |text, colour| text.replace(colour, ""))
    }

    #[test]
    fn all_facts_fit_into_eighty_columns_and_the_most_important_into_forty() {
        let many =
            Totals { opened: 100_000, lost: 1234, wrong: 56, duplicated: 7, ..Totals::default() };
        let few = Totals { opened: 64, duplicated: 2, ..Totals::default() };
        let point =
            Point { rate: 1_234_567.0, p50: 80.0, p99: 1200.0, max: 512_000.0, ..Point::default() };
        let span = Some(Duration::from_secs(600));
        for (label, step) in [
            ("echo", "measuring"),
            ("slow, beside them", "warming up"),
            ("matrix, 16384 bytes, 256 connections", "connecting"),
        ] {
            let mut view = LiveView::new(label.to_owned());
            view.rates.extend([1.0; CHART_POINTS]);
            for (totals, told, sum) in
                [(&few, "2 twice", "2 faults"), (&many, "1,234 connections lost", "1,297 faults")]
            {
                let passed = Duration::from_secs(345);
                let glimpse = Glimpse { step, passed, span, totals, point: &point };
                let opened = grouped(totals.opened as f64);
                let facts = ["345/600 s", &opened, "1,234,567/s", "p99 1.20 ms", "max 512 ms"];
                for columns in [200, 120, 100, 80, 79, 70, 60, 50, 40] {
                    let text = seen(&view, &glimpse, columns - 1);
                    let told_of = text.contains(told) || text.contains(sum);
                    assert!(columns < 60 || text.contains("p50 80.0 µs"), "{columns}: {text}");
                    assert!(told_of, "{columns}: {text}");
                    assert!(columns < 80 || text.contains(label), "{columns}: {text}");
                    assert!(
                        columns < 200 || (text.contains(step) && text.contains(told)),
                        "{text}"
                    );
                    for fact in facts {
                        assert!(text.contains(fact), "no {fact} in {columns}: {text}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_bar_and_the_chart_take_the_room_that_is_left() {
        let mut view = LiveView::new("echo".to_owned());
        view.rates.extend([1.0; CHART_POINTS]);
        let (totals, point) =
            (Totals::default(), Point { rate: 9.0, max: 9.0, ..Point::default() });
        let (passed, span) = (Duration::from_secs(5), Some(Duration::from_secs(10)));
        let glimpse = Glimpse { step: "measuring", passed, span, totals: &totals, point: &point };
        for (columns, bar, bars) in [(120, 24, 24), (80, 24, 24), (50, 12, 12), (40, 0, 2)] {
            let text = seen(&view, &glimpse, columns - 1);
            let count = |of: char| text.chars().filter(|one| *one == of).count();
            assert_eq!((count('━'), count('█')), (bar, bars), "{columns}: {text}");
        }
    }
}
