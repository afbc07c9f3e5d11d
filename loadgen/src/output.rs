//! Writing: results to standard output, the status line and errors to standard error, JSON to a
//! file. Nothing is computed but the look of numbers.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::failure::Failure;
use crate::scoreboard::Totals;

/// Time between two status lines.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// Prints what was asked for.
pub(crate) fn say(text: &str) {
    // A reader that has gone away is no reason to fail.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Prints a line about the run, which is not its result.
pub(crate) fn say_aside(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Writes the JSON form to a file, or to standard output for `-`.
pub(crate) fn write_json(path: &Path, json: &str) -> Result<(), Failure> {
    let text = format!("{json}\n");
    if path.as_os_str() == "-" {
        say(&text);
        return Ok(());
    }
    fs::write(path, text)
        .map_err(|error| Failure::usage(format!("--json {}: {error}", path.display())))
}

/// One line a second on a terminal, nothing elsewhere.
#[derive(Debug)]
pub(crate) struct StatusLine {
    label: String,
    shown: Option<(Instant, Totals)>,
    visible: bool,
}

impl StatusLine {
    /// A status line that begins with `label`.
    pub(crate) fn new(label: impl Into<String>) -> Self {
        let visible = std::io::stderr().is_terminal();
        Self { label: label.into(), shown: None, visible }
    }

    /// Shows how far the run is, if a second has passed.
    pub(crate) fn show(&mut self, totals: &Totals) {
        if !self.visible {
            return;
        }
        let now = Instant::now();
        let (then, before) = *self.shown.get_or_insert((now, *totals));
        let seconds = now.duration_since(then);
        if seconds < STATUS_INTERVAL {
            return;
        }
        self.shown = Some((now, *totals));
        let rate = (totals.received - before.received) as f64 / seconds.as_secs_f64();
        let mut line = format!(
            "\r\x1b[K{}: {} connections opened, {} messages, {}/s",
            self.label,
            grouped(totals.opened as f64),
            grouped(totals.received as f64),
            grouped(rate)
        );
        if totals.lost + totals.wrong > 0 {
            line += &format!(", {} LOST, {} WRONG", totals.lost, totals.wrong);
        }
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

impl Drop for StatusLine {
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = std::io::stderr().write_all(b"\r\x1b[K");
        }
    }
}

/// A number without fraction, its thousands apart: `1,234,567`.
pub(crate) fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes as mebibytes with one decimal.
pub(crate) fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / (1 << 20) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        for (number, text) in [
            (0.0, "0"),
            (999.4, "999"),
            (999.6, "1,000"),
            (1_234_567.0, "1,234,567"),
            (123_456.0, "123,456"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn mebibytes_have_one_decimal() {
        assert_eq!(mib(3 << 19), "1.5");
    }

    #[test]
    fn json_that_cannot_be_written_names_the_file() {
        let error = write_json(Path::new("/no/such/folder/file"), "{}").unwrap_err();
        assert!(error.to_string().contains("/no/such/folder/file"));
        assert_eq!(error.exit_code(), 2);
    }
}
