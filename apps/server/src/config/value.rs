//! How values are written: durations as `30s`, sizes as `4MiB`, everything else as itself. A value
//! that is read is not checked against any bound here.

use std::time::Duration;

/// A value that can stand in a file, a variable or a flag.
pub(crate) trait Value: Sized {
    /// Reads it; `name` is the key's, which tells bytes from other numbers.
    fn read(name: &str, text: &str) -> Result<Self, String>;
    /// Writes it so that it can be read again.
    fn show(&self, name: &str) -> String;
}

impl Value for Duration {
    fn read(_: &str, text: &str) -> Result<Self, String> {
        let bad =
            |_| format!("'{text}' is not a duration: give one with a unit, as in 30s, 500ms or 2m");
        humantime::parse_duration(text).map_err(bad)
    }

    fn show(&self, _: &str) -> String {
        humantime::format_duration(*self).to_string()
    }
}

const UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

fn is_bytes(name: &str) -> bool {
    name.split(['.', '_']).any(|word| word == "bytes")
}

impl Value for u64 {
    fn read(name: &str, text: &str) -> Result<Self, String> {
        let digits = |text: &str| text.trim().replace('_', "").parse::<Self>().ok();
        if !is_bytes(name) {
            return digits(text).ok_or_else(|| format!("'{text}' is not a whole number"));
        }
        let bad =
            || format!("'{text}' is not a size: give bytes, or a size as in 64KiB, 4MiB or 1GiB");
        for (unit, bytes) in UNITS {
            if let Some(number) = text.trim().strip_suffix(unit) {
                return digits(number).and_then(|number| number.checked_mul(bytes)).ok_or_else(bad);
            }
        }
        digits(text).ok_or_else(bad)
    }

    fn show(&self, name: &str) -> String {
        if !is_bytes(name) {
            return self.to_string();
        }
        let fits = |&&(_, bytes): &&(&str, Self)| *self >= bytes && self.is_multiple_of(bytes);
        match UNITS.iter().find(fits) {
            Some((unit, bytes)) => format!("{}{unit}", self / bytes),
            None => self.to_string(),
        }
    }
}

/// Other whole numbers are read as the largest and must fit.
macro_rules! narrow {
    ($($kind:ty),+) => {$(
        impl Value for $kind {
            fn read(name: &str, text: &str) -> Result<Self, String> {
                let wide = u64::read(name, text)?;
                Self::try_from(wide).map_err(|_| format!("'{text}' is too large: at most {}", Self::MAX))
            }

            fn show(&self, name: &str) -> String {
                (*self as u64).show(name)
            }
        }
    )+};
}

narrow!(usize, u32, u8);

impl Value for bool {
    fn read(_: &str, text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("'{text}' is neither true nor false"))
    }

    fn show(&self, _: &str) -> String {
        self.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_are_written_as_they_are_read() {
        for (text, bytes) in
            [("1GiB", 1 << 30), ("4MiB", 4 << 20), ("1500B", 1_500), ("64KiB", 65_536)]
        {
            assert_eq!(usize::read("a_bytes_max", text), Ok(bytes));
            assert_eq!(bytes.show("a_bytes_max"), text);
        }
        assert_eq!(u64::read("a_bytes_max", "1_000_000"), Ok(1_000_000));
        assert_eq!(65_536_usize.show("commands_max"), "65536");
        for (text, millis) in [("30s", 30_000), ("250ms", 250), ("1m 30s", 90_000)] {
            let span = Duration::from_millis(millis);
            assert_eq!(Duration::read("a", text), Ok(span));
            assert_eq!(span.show("a"), text);
        }
    }

    #[test]
    fn what_is_no_value_is_answered_with_how_to_write_one() {
        for text in ["", "4", "soon", "-1s"] {
            assert!(Duration::read("a", text).unwrap_err().contains("30s"), "{text}");
        }
        for text in ["", "4MB", "4.5MiB", "-1", "99999999999GiB", "MiB"] {
            assert!(u64::read("a_bytes_max", text).unwrap_err().contains("4MiB"), "{text}");
        }
        assert!(u32::read("a_burst", "4KiB").unwrap_err().contains("whole number"));
        assert!(u32::read("a_burst", "5000000000").unwrap_err().contains("at most 4294967295"));
    }
}
