//! Numbers as people read them.
//!
//! Units are those of the rows; nothing is computed but the place of the point.

/// Three digits that count, with a unit fit for them: `2,825 ns`, `21.4 µs`, `199 B`, `134 KB`.
pub(crate) fn with_unit(value: f64, unit: &str) -> String {
    if !value.is_finite() {
        return "-".into();
    }
    if unit.starts_with("bytes") {
        return match value {
            ..9_950.0 => format!("{} B", grouped(value)),
            ..999_500.0 => format!("{} KB", short(value / 1e3)),
            _ => format!("{} MB", short(value / 1e6)),
        };
    }
    match value {
        ..9_950.0 => format!("{} ns", grouped(value)),
        ..999_500.0 => format!("{} µs", short(value / 1e3)),
        _ => format!("{} ms", short(value / 1e6)),
    }
}

/// Whole, with a comma between thousands; below ten with one place behind the point.
fn grouped(value: f64) -> String {
    if value.abs() < 9.95 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let from_end = |index: usize| digits.len() - index;
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && from_end(index).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Three digits that count.
fn short(value: f64) -> String {
    match value {
        ..9.995 => format!("{value:.2}"),
        ..99.95 => format!("{value:.1}"),
        _ => grouped(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_the_digits_that_count() {
        let rows = [
            (0.52, "ns/iteration", "0.5 ns"),
            (2825.4, "ns/message", "2,825 ns"),
            (21_412.0, "ns/message", "21.4 µs"),
            (274_721.0, "ns/message", "275 µs"),
            (1_085_000.0, "ns/message", "1.08 ms"),
            (198.656, "bytes/connection", "199 B"),
            (9_650.0, "bytes/connection", "9,650 B"),
            (133_600.0, "bytes/connection", "134 KB"),
            (f64::NAN, "ns/message", "-"),
            (-1234.0, "bytes/connection", "-1,234 B"),
        ];
        for (value, unit, text) in rows {
            assert_eq!(with_unit(value, unit), text);
        }
    }
}
