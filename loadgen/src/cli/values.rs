//! Values of options, from text. A value that is refused says what it may be.

use std::time::Duration;

use ringsock::MIB;

/// Seconds, with a fraction.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| "give a number of seconds".to_owned())?;
    if !(0.0..=86_400.0).contains(&number) {
        return Err("give 0 to 86400 seconds".to_owned());
    }
    Ok(Duration::from_secs_f64(number))
}

/// Seconds of which there must be some.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    match seconds(text) {
        Ok(duration) if duration >= Duration::from_millis(1) => Ok(duration),
        _ => Err("give 0.001 to 86400 seconds".to_owned()),
    }
}

/// Seconds that something may take: some, at most an hour.
pub(super) fn timeout(text: &str) -> Result<Duration, String> {
    match seconds(text) {
        Ok(duration) if (0.01..=3600.0).contains(&duration.as_secs_f64()) => Ok(duration),
        _ => Err("give 0.01 to 3600 seconds".to_owned()),
    }
}

/// A number of things, at least one.
pub(super) fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=10_000_000) => Ok(number),
        _ => Err("give a whole number from 1 to 10000000".to_owned()),
    }
}

/// Bytes of a payload.
pub(super) fn payload(text: &str) -> Result<usize, String> {
    const PAYLOAD_BYTES_MAX: usize = 64 * MIB;
    match text.parse() {
        Ok(bytes @ 0..=PAYLOAD_BYTES_MAX) => Ok(bytes),
        _ => Err(format!("give a number of bytes up to {PAYLOAD_BYTES_MAX}")),
    }
}

/// Messages a second; `20k` and `1.5M` are understood.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    let (digits, factor) = match (text.strip_suffix('k'), text.strip_suffix('M')) {
        (Some(digits), _) => (digits, 1e3),
        (_, Some(digits)) => (digits, 1e6),
        _ => (text, 1.0),
    };
    match digits.parse::<f64>() {
        Ok(number) if (0.01..=1e8).contains(&(number * factor)) => Ok(number * factor),
        _ => Err("give messages a second, 0.01 to 100M, such as 500, 20k or 1.5M".to_owned()),
    }
}

/// Messages a second, or `max`, which is infinite.
pub(super) fn count_or_max(text: &str) -> Result<f64, String> {
    if text == "max" { Ok(f64::INFINITY) } else { rate(text) }
}

/// A share from 0 to 1.
pub(super) fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("give a share from 0 to 1".to_owned()),
    }
}

/// A header line: `NAME: VALUE`.
pub(super) fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("give NAME: VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_are_refused() {
        assert!(seconds("-1").is_err() && seconds("x").is_err() && seconds("NaN").is_err());
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert!(span("0").is_err() && span("-1").is_err() && span("0.001").is_ok());
        assert!(timeout("0").is_err() && timeout("3601").is_err() && timeout("0.3").is_ok());
        assert!(positive("0").is_err() && positive("1").is_ok());
        assert!(payload("67108865").is_err() && payload("67108864").is_ok());
    }

    #[test]
    fn rates_may_have_a_letter() {
        assert_eq!((rate("500"), rate("20k"), rate("1.5M")), (Ok(500.0), Ok(2e4), Ok(1.5e6)));
        assert!(rate("0").is_err() && rate("fast").is_err() && rate("1G").is_err());
    }

    #[test]
    fn shares_lie_between_nothing_and_everything() {
        assert!(share("1.1").is_err() && share("-0.1").is_err());
        assert_eq!((share("0.1"), count_or_max("max")), (Ok(0.1), Ok(f64::INFINITY)));
    }

    #[test]
    fn a_header_has_a_name_and_may_have_colons_in_its_value() {
        let origin = ("Origin".to_owned(), "http://a:1".to_owned());
        assert_eq!(header("Origin: http://a:1"), Ok(origin));
        assert!(header("Origin").is_err());
    }
}
