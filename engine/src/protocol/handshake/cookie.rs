//! Reads the `Cookie` header (RFC 6265 section 4.2). It decodes nothing and knows no attributes,
//! which only servers send.

use super::tokens::trim;

/// The first value of `name` in one header line. A pair of quotes around it is left out.
pub(super) fn find<'h>(line: &'h [u8], name: &str) -> Option<&'h str> {
    let value = line.split(|&byte| byte == b';').find_map(|pair| {
        let equals = pair.iter().position(|&byte| byte == b'=')?;
        (trim(&pair[..equals]) == name.as_bytes()).then(|| trim(&pair[equals + 1..]))
    })?;
    let bare = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    std::str::from_utf8(bare.unwrap_or(value)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_found_by_their_exact_name() {
        let line = b"a=1; session=\"x=y\";b = 2 ;a=3; flag; empty=; bad=\xff";
        for (name, expected) in [
            ("a", Some("1")),
            ("session", Some("x=y")),
            ("b", Some("2")),
            ("empty", Some("")),
            ("A", None),
            ("flag", None),
            ("bad", None),
            ("none", None),
        ] {
            assert_eq!(find(line, name), expected, "{name}");
        }
    }
}
