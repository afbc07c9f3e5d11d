//! Writing: results to standard output, errors to standard error, other forms to files. Nothing is
//! computed but the look of numbers.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

use crate::failure::Failure;

/// Prints what was asked for.
pub(crate) fn say(text: &str) {
    // A reader that has gone away is no reason to fail.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

/// Prints a line about the run, which is not its result.
pub(crate) fn say_aside(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Writes a form of the result to the file that an option names, or to standard output for `-`.
pub(crate) fn write_file(option: &str, path: &Path, text: &str) -> Result<(), Failure> {
    if path.as_os_str() == "-" {
        say(text);
        return Ok(());
    }
    fs::write(path, text)
        .map_err(|error| Failure::usage(format!("{option} {}: {error}", path.display())))
}

/// Finds out whether such a file can be written, and leaves everything as it was. Only plain files
/// are tried: who reads from a pipe would take this for the end.
pub(crate) fn check_file(option: &str, path: &Path) -> Result<(), Failure> {
    let cannot = |error: &dyn std::fmt::Display| {
        Failure::usage(format!("{option} {}: {error}", path.display()))
    };
    let found = fs::metadata(path).ok();
    if path.as_os_str() == "-" || found.as_ref().is_some_and(|found| !found.is_file()) {
        let is_folder = found.is_some_and(|found| found.is_dir());
        return if is_folder { Err(cannot(&"it is a folder")) } else { Ok(()) };
    }
    OpenOptions::new().append(true).create(true).open(path).map_err(|error| cannot(&error))?;
    match found {
        Some(_) => Ok(()),
        None => fs::remove_file(path).map_err(|error| cannot(&error)),
    }
}

/// A table for people: the first column on the left, numbers on the right.
pub(crate) fn table_text(columns: &[String], rows: &[Vec<String>]) -> String {
    let all = || std::iter::once(columns).chain(rows.iter().map(Vec::as_slice));
    let width = |column: usize| {
        all().filter_map(|cells| cells.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for cells in all() {
        for (column, (cell, width)) in cells.iter().zip(&widths).enumerate() {
            match column {
                0 => text += &format!("{cell:<width$}"),
                _ => text += &format!("  {cell:>width$}"),
            }
        }
        text.push('\n');
    }
    text
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

/// Nanoseconds with three digits and the unit that suits: `82.1 µs`.
pub(crate) fn duration_text(ns: f64) -> String {
    const UNITS: [(f64, &str); 4] = [(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns")];
    // A number that would be rounded up to 1000 belongs to the next unit already.
    let (unit_ns, unit) =
        UNITS.into_iter().find(|(unit_ns, _)| ns >= unit_ns * 0.9995).unwrap_or(UNITS[3]);
    let number = ns / unit_ns;
    let decimals = match number {
        _ if unit == "ns" => 0,
        number if number < 9.995 => 2,
        number if number < 99.95 => 1,
        _ => 0,
    };
    format!("{number:.decimals$} {unit}")
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
    fn tables_stand_in_columns() {
        let words = |cells: &[&str]| cells.iter().map(|&cell| cell.to_owned()).collect::<Vec<_>>();
        let text = table_text(&words(&["name", "µs"]), &[words(&["a", "10.5"])]);
        assert_eq!(text, "name    µs\na     10.5\n");
    }

    #[test]
    fn mebibytes_have_one_decimal() {
        assert_eq!(mib(3 << 19), "1.5");
    }

    #[test]
    fn durations_have_three_digits_and_a_unit_that_suits() {
        for (ns, text) in [
            (0.0, "0 ns"),
            (640.0, "640 ns"),
            (1_000.0, "1.00 µs"),
            (82_140.0, "82.1 µs"),
            (999_600.0, "1.00 ms"),
            (123_456_789.0, "123 ms"),
            (1_500_000_000.0, "1.50 s"),
        ] {
            assert_eq!(duration_text(ns), text);
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named_before_and_after() {
        let path = Path::new("/no/such/folder/file");
        for result in [check_file("--json", path), write_file("--json", path, "{}")] {
            let error = result.unwrap_err();
            assert!(error.to_string().contains("--json /no/such/folder/file: No such file"));
            assert_eq!(error.exit_code(), 2);
        }
        let folder = check_file("--csv", &std::env::temp_dir()).unwrap_err();
        assert!(folder.to_string().ends_with(": it is a folder"), "{folder}");
    }

    #[test]
    fn finding_out_changes_no_file_and_leaves_none() {
        let path = std::env::temp_dir().join(format!("ringload-check-{}", std::process::id()));
        check_file("--json", &path).unwrap();
        assert!(!path.exists());
        fs::write(&path, "before").unwrap();
        check_file("--json", &path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "before");
        fs::remove_file(path).unwrap();
        check_file("--json", Path::new("-")).unwrap();
    }
}
