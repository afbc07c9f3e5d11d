//! A message's number as it stands in its payload: 16 hexadecimal digits, which are as good in text
//! as in binary messages. Where they stand is not known here. It is done for every message, so eight
//! digits at a time, each in a byte of a `u64`.

/// Bytes that a number takes.
pub(crate) const STAMP_BYTES: usize = 16;

/// The same byte in all eight places.
const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// The digits of half a number.
#[inline]
fn half_digits(half: u32) -> [u8; 8] {
    // The nibbles, in steps of half as many bits each, until each has a byte.
    let pairs = u64::from(half);
    let pairs = (pairs | pairs << 16) & 0x0000_FFFF_0000_FFFF;
    let pairs = (pairs | pairs << 8) & 0x00FF_00FF_00FF_00FF;
    let nibbles = (pairs | pairs << 4) & each(0x0F);
    // From 10 on they are letters, which begin so far behind the digits.
    let are_letters = (nibbles.wrapping_add(each(6)) >> 4) & each(1);
    let offsets = are_letters.wrapping_mul(u64::from(b'a' - 10 - b'0'));
    nibbles.wrapping_add(each(b'0')).wrapping_add(offsets).to_be_bytes()
}

/// The half number of digits that are known to be some.
#[inline]
fn half_number(digits: [u8; 8]) -> u32 {
    let digits = u64::from_be_bytes(digits);
    let are_letters = (digits >> 6) & each(1);
    let nibbles = (digits & each(0x0F)).wrapping_add(are_letters.wrapping_mul(9)) & each(0x0F);
    let pairs = (nibbles | nibbles >> 4) & 0x00FF_00FF_00FF_00FF;
    let pairs = (pairs | pairs >> 8) & 0x0000_FFFF_0000_FFFF;
    (pairs | pairs >> 16) as u32
}

/// The digits of a number.
#[inline]
pub(crate) fn digits(number: u64) -> [u8; STAMP_BYTES] {
    let mut digits = [0; STAMP_BYTES];
    digits[..8].copy_from_slice(&half_digits((number >> 32) as u32));
    digits[8..].copy_from_slice(&half_digits(number as u32));
    digits
}

/// The number that these digits are, if they are that. Most often it is the one that is expected,
/// which is known sooner than any other.
#[inline]
pub(crate) fn number_of(stamp: &[u8; STAMP_BYTES], expected: u64) -> Option<u64> {
    if digits(expected) == *stamp { Some(expected) } else { number_of_any(stamp) }
}

fn number_of_any(stamp: &[u8; STAMP_BYTES]) -> Option<u64> {
    let half = |at: usize| -> u64 {
        let mut digits = [0; 8];
        digits.copy_from_slice(&stamp[at..at + 8]);
        u64::from(half_number(digits))
    };
    let number = half(0) << 32 | half(8);
    // What is no digit has become one of another number.
    (digits(number) == *stamp).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers() -> impl Iterator<Item = u64> {
        let mut number = 0x9E37_79B9_7F4A_7C15_u64;
        let random = std::iter::repeat_with(move || {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            number
        });
        let ends = [0, 1, 9, 10, 15, 16, 0x0123_4567_89AB_CDEF, u64::MAX];
        ends.into_iter().chain(random.take(10_000))
    }

    #[test]
    fn digits_are_those_of_the_standard_library_and_lead_back() {
        for number in numbers() {
            let digits = digits(number);
            assert_eq!(std::str::from_utf8(&digits).unwrap(), format!("{number:016x}"));
            assert_eq!(number_of(&digits, number), Some(number));
            assert_eq!(number_of(&digits, number.wrapping_add(1)), Some(number));
        }
    }

    #[test]
    fn what_is_no_digit_has_no_number() {
        for byte in (0..=u8::MAX).filter(|byte| !b"0123456789abcdef".contains(byte)) {
            for at in 0..STAMP_BYTES {
                let mut digits = digits(0x0123_4567_89AB_CDEF);
                digits[at] = byte;
                assert_eq!(number_of(&digits, 0x0123_4567_89AB_CDEF), None, "{byte} at {at}");
            }
        }
    }
}
