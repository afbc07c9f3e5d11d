//! Text to compress, the same for everybody.

/// A JSON array of trades, as a feed sends them, exactly `bytes` long: spaces fill the rest.
///
/// ```
/// let text = ringsock_bench::documents::json(100);
/// assert!(text.len() == 100 && text.starts_with("[{\"symbol\":\"AB0\","));
/// assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
/// ```
///
/// # Panics
/// If that is less than the two brackets.
#[must_use]
pub fn json(bytes: usize) -> String {
    assert!(bytes >= 2, "an array has two brackets");
    let mut text = String::from("[");
    for number in 0.. {
        let comma = if number == 0 { "" } else { "," };
        let price = 1000 + number * 7919 % 997;
        let size = number * 13 % 90;
        let trade = format!(
            "{comma}{{\"symbol\":\"AB{}\",\"price\":{price}.25,\"size\":{size}}}",
            number % 7
        );
        if text.len() + trade.len() >= bytes {
            break;
        }
        text += &trade;
    }
    format!("{:<bytes$}", text + "]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_as_long_as_it_was_asked_for() {
        for bytes in [2, 3, 40, 42, 128, 1024, 4096] {
            let text = json(bytes);
            assert_eq!(text.len(), bytes);
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert!(value.as_array().unwrap().len() >= bytes / 60);
        }
    }
}
