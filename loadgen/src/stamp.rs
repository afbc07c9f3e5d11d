//! A message's number as it stands in its payload: 16 hexadecimal digits, which are as good in text
//! as in binary messages. Where they stand is not known here.

/// Bytes that a number takes.
pub(crate) const STAMP_BYTES: usize = 16;

/// The two digits of each byte.
const PAIRS: [[u8; 2]; 256] = pairs();
/// The value of each digit; [`NO_DIGIT`] for other bytes.
const VALUES: [u8; 256] = values();
const NO_DIGIT: u8 = 0xFF;

const fn pairs() -> [[u8; 2]; 256] {
    let digits = b"0123456789abcdef";
    let (mut pairs, mut byte) = ([[0; 2]; 256], 0);
    while byte < 256 {
        pairs[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    pairs
}

const fn values() -> [u8; 256] {
    let (mut values, mut value) = ([NO_DIGIT; 256], 0);
    while value < 16 {
        values[PAIRS[value][1] as usize] = value as u8;
        value += 1;
    }
    values
}

/// The digits of a number. It is done for every message, so by tables.
#[inline]
pub(crate) fn digits(number: u64) -> [u8; STAMP_BYTES] {
    let mut digits = [0; STAMP_BYTES];
    for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(number.to_be_bytes()) {
        *pair = PAIRS[usize::from(byte)];
    }
    digits
}

/// The number that these digits are, if they are that.
#[inline]
pub(crate) fn number_of(digits: &[u8; STAMP_BYTES]) -> Option<u64> {
    let (mut number, mut all) = (0, 0);
    for &digit in digits {
        let value = VALUES[usize::from(digit)];
        all |= value;
        number = number << 4 | u64::from(value & 15);
    }
    (all < 16).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_the_standard_library_and_lead_back() {
        for number in [0, 1, 0xABCD, 0x0123_4567_89AB_CDEF, u64::MAX] {
            let digits = digits(number);
            assert_eq!(std::str::from_utf8(&digits).unwrap(), format!("{number:016x}"));
            assert_eq!(number_of(&digits), Some(number));
        }
    }

    #[test]
    fn what_is_no_digit_has_no_number() {
        for wrong in [b'g', b'A', b' ', 0, 0xFF] {
            for at in 0..STAMP_BYTES {
                let mut digits = digits(7);
                digits[at] = wrong;
                assert_eq!(number_of(&digits), None, "{wrong} at {at}");
            }
        }
    }
}
