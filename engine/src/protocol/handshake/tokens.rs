//! Tokens and comma-separated lists of HTTP header fields (RFC 9110 section 5.6). This module does
//! not know any header by name, and it never allocates.

const TOKEN_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        table[byte] = b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        byte += 1;
    }
    table
};

/// Empty elements a list may carry. RFC 9110 section 5.6.1.2 asks recipients to ignore "a
/// reasonable number" of them.
pub(super) const EMPTY_ELEMENTS_MAX: usize = 8;

/// Whether the byte may stand in a token (`tchar`).
pub(super) const fn is_token_byte(byte: u8) -> bool {
    TOKEN_BYTES[byte as usize]
}

/// Whether the bytes are a token: one or more `tchar`.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&byte| is_token_byte(byte))
}

/// Whether the byte may stand in a field value: visible, space, tab, or beyond ASCII.
pub(super) const fn is_value_byte(byte: u8) -> bool {
    (byte >= b' ' && byte != 0x7f) || byte == b'\t'
}

/// Whether a header line made of these two would be one line: a token, then a value without
/// control characters and without spaces at its ends.
pub fn is_valid_header(name: &str, value: &str) -> bool {
    is_token(name.as_bytes())
        && value.bytes().all(is_value_byte)
        && trim(value.as_bytes()).len() == value.len()
}

/// The bytes without spaces and tabs at either end (`OWS`).
pub(super) fn trim(bytes: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let Some(start) = bytes.iter().position(|byte| !blank(byte)) else { return &[] };
    let end = bytes.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    &bytes[start..end]
}

/// The elements between commas, trimmed; empty ones included.
pub(super) fn list_elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim)
}

/// Whether the list names the token, in any case.
pub(super) fn list_names(value: &[u8], token: &str) -> bool {
    list_elements(value).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_bytes_are_exactly_those_of_rfc_9110() {
        let separators = b"\"(),/:;<=>?@[\\]{}";
        for byte in 0..=255u8 {
            let expected = byte.is_ascii_graphic() && !separators.contains(&byte);
            assert_eq!(is_token_byte(byte), expected, "byte {byte:#04x}");
        }
        assert!(!is_token(b""));
    }

    #[test]
    fn lists_are_split_trimmed_and_compared_without_case() {
        let elements: Vec<_> = list_elements(b" a ,\tb,,c").collect();
        assert_eq!(elements, [&b"a"[..], b"b", b"", b"c"]);
        assert!(list_names(b"keep-alive, UPGRADE", "upgrade"));
        assert!(!list_names(b"notupgrade", "upgrade"));
        assert!(!list_names(b"upgrade-x, x upgrade", "upgrade"));
    }

    #[test]
    fn a_header_that_would_split_the_response_is_invalid() {
        assert!(is_valid_header("X-Name", "some value; really"));
        assert!(is_valid_header("X-Name", ""));
        for (name, value) in
            [("", "a"), ("a b", "c"), ("a:", "b"), ("a", "b\r\nc: d"), ("a", "b\0"), ("a", " b")]
        {
            assert!(!is_valid_header(name, value), "{name:?}: {value:?}");
        }
    }
}
