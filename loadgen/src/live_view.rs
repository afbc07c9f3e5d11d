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
        let [upper, lower] = self.lines(glimpse);
        // One cell less than there are: a line that fills the last one may wrap.
        format!("{back}{}\n{}", cut(&upper, width - 1), cut(&lower, width - 1))
    }

    fn lines(&self, glimpse: &Glimpse<'_>) -> [String; 2] {
        let Glimpse { step, passed, span, totals, point } = glimpse;
        let time = match span {
            Some(span) => {
                let share = (passed.as_secs_f64() / span.as_secs_f64().max(1e-9)).min(1.0);
                let full = (share * PROGRESS_CELLS as f64) as usize;
                format!(
                    "{CYAN}{}{RESET}{DIM}{}{RESET} {:.0}/{:.0} s",
                    "━".repeat(full),
                    "━".repeat(PROGRESS_CELLS - full),
                    passed.as_secs_f64(),
                    span.as_secs_f64()
                )
            }
            None => format!("{:.0} s", passed.as_secs_f64()),
        };
        let upper = format!(
            "{BOLD}{}{RESET} {DIM}{step}{RESET} {time}  {} connections{}",
            self.label,
            grouped(totals.opened as f64),
            faults(totals).map(|faults| format!("  {RED}{faults}{RESET}")).unwrap_or_default()
        );
        let chart = chart(self.rates.iter().copied());
        let lower = format!("{CYAN}{chart}{RESET} {BOLD}{}/s{RESET}", grouped(point.rate));
        let lower = match point.max > 0.0 {
            false => lower,
            true => format!(
                "{lower}  {DIM}p50{RESET} {}  {DIM}p99{RESET} {}  {DIM}max{RESET} {}",
                duration_text(point.p50 * 1000.0),
                duration_text(point.p99 * 1000.0),
                duration_text(point.max * 1000.0)
            ),
        };
        [upper, lower]
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

/// What has gone wrong so far, if anything has.
fn faults(totals: &Totals) -> Option<String> {
    let counts = [
        (totals.lost, "connections lost"),
        (totals.wrong, "wrong"),
        (totals.duplicated, "twice"),
        (totals.reordered, "out of order"),
    ];
    let told: Vec<String> = counts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", grouped(count as f64)))
        .collect();
    (!told.is_empty()).then(|| told.join(", "))
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
}
