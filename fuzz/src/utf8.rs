//! Incremental validation of UTF-8 against the standard library, down to the byte that fails.

use ringsock::simd::{Utf8Stream, validate};

use super::cuts::Cuts;

/// Where the standard library says the first byte is that cannot belong to a text.
fn first_bad_byte(text: &[u8]) -> Option<usize> {
    let error = std::str::from_utf8(text).err()?;
    let start = error.valid_up_to();
    let length = error.error_len()?;
    // It reports a lead byte that can never stand anywhere with a length of one as well.
    let bad_lead = matches!(text[start], 0x80..=0xc1 | 0xf5..=0xff);
    Some(if bad_lead { start } else { start + length })
}

pub(super) fn run(data: &[u8]) {
    let Some((cuts, text)) = Cuts::take(data) else { return };
    let mut stream = Utf8Stream::default();
    let mut before = 0;
    let mut failed = None;
    for piece in cuts.pieces(text) {
        if let Err(error) = stream.push(piece) {
            failed = Some(before + error.offset);
            break;
        }
        before += piece.len();
    }
    assert_eq!(failed, first_bad_byte(text));
    let valid = std::str::from_utf8(text).is_ok();
    assert_eq!(failed.is_none() && stream.is_complete(), valid);
    assert_eq!(validate(text), valid);
}
