//! Numbers as people read them.
//!
//! Units are those of the rows; nothing is computed but the place of the point.

/// Three digits that count, with a unit fit for them: `2,825 ns`, `21.4 µs`, `199 B`, `134 KB`.
pub(crate) fn with_unit(value: f64, unit: &str) -> String {
    if !value.is_finite() {
        return "-".into();
    }
    let scale = Scale::of(value, unit);
    format!("{} {}", scale.digits(value), scale.name)
}

/// A value and between what it lies, all in the unit that is fit for the value:
/// `2,825 ns (2,804 - 2,911)`.
pub(crate) fn with_spread(value: f64, (lowest, highest): (f64, f64), unit: &str) -> String {
    let scale = Scale::of(value, unit);
    let (lowest, highest) = (scale.digits(lowest), scale.digits(highest));
    format!("{} ({lowest} - {highest})", with_unit(value, unit))
}

/// How far the lowest or the highest is from a value: `± 3 %`.
pub(crate) fn deviation(value: f64, (lowest, highest): (f64, f64)) -> String {
    let furthest = (highest - value).max(value - lowest);
    format!("± {:.0} %", furthest / value * 100.0)
}

/// A unit, and how many of the row's own it is.
struct Scale {
    divisor: f64,
    name: &'static str,
}

impl Scale {
    /// The unit fit for a value.
    fn of(value: f64, unit: &str) -> Self {
        let names = if unit.starts_with("bytes") { ["B", "KB", "MB"] } else { ["ns", "µs", "ms"] };
        let (divisor, name) = match value {
            ..9_950.0 => (1.0, names[0]),
            ..999_500.0 => (1e3, names[1]),
            _ => (1e6, names[2]),
        };
        Self { divisor, name }
    }

    fn digits(&self, value: f64) -> String {
        if self.divisor == 1.0 { grouped(value) } else { short(value / self.divisor) }
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
    #[test]
    fn a_spread_is_told_in_the_unit_of_the_value() {
        let spread = |value, around| with_spread(value, around, "ns/message");
        assert_eq!(spread(2825.0, (2804.0, 12_911.0)), "2,825 ns (2,804 - 12,911)");
        assert_eq!(spread(21_412.0, (9_900.0, 34_000.0)), "21.4 µs (9.90 - 34.0)");
        assert_eq!(deviation(100.0, (97.0, 101.0)), "± 3 %");
    }
}
