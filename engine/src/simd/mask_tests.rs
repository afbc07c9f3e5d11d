//! Masking against a byte loop, for every instruction set of the machine the tests run on.

use crate::simd::instruction_set::InstructionSet;
use crate::simd::loops::{BYTES_MIN, rotate};
use crate::simd::{apply_mask, copy_and_mask, mask_in_use};

/// Four bytes that differ, so that a wrong phase cannot go unnoticed.
const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// RFC 6455 section 5.3 word for word: "transformed-octet-i = original-octet-i XOR
/// masking-key-octet-j" where "j = i MOD 4".
fn naive(bytes: &[u8], key: [u8; 4], phase: usize) -> Vec<u8> {
    bytes.iter().enumerate().map(|(i, byte)| byte ^ key[(phase + i) % 4]).collect()
}

/// Bytes without a period that a vector's width could share.
fn sample(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 167 % 251) as u8).collect()
}

/// Every length to 300 (all short forms, all group boundaries), and some around multiples of the
/// largest group.
fn lengths() -> impl Iterator<Item = usize> {
    (0..=300).chain([511, 512, 513, 575, 576, 577, 1023, 1024, 1025, 4097, 16_384, 65_537])
}

/// Calls `mask(bytes, phase)` on all lengths, phases and offsets, and checks that exactly the
/// bytes asked for changed.
fn check(name: &str, lengths: impl Iterator<Item = usize>, mask: impl Fn(&mut [u8], usize)) {
    /// Distance between the start of the buffer and the bytes, at most a vector's width.
    const OFFSETS: usize = 64;
    for length in lengths {
        let original = sample(length + OFFSETS + 1);
        for phase in 0..4 {
            let offsets = if length > 600 { 61..OFFSETS } else { 0..OFFSETS };
            for offset in offsets {
                let mut bytes = original.clone();
                mask(&mut bytes[offset..offset + length], phase);
                let expected = naive(&original[offset..offset + length], KEY, phase);
                assert!(
                    bytes[offset..offset + length] == expected
                        && bytes[..offset] == original[..offset]
                        && bytes[offset + length..] == original[offset + length..],
                    "{name}: {length} bytes, phase {phase}, offset {offset}"
                );
            }
        }
    }
}

fn available() -> impl Iterator<Item = InstructionSet> {
    InstructionSet::ALL.iter().copied().filter(|set| set.is_available())
}

#[test]
fn apply_mask_equals_the_byte_loop() {
    check("selected", lengths(), |bytes, phase| apply_mask(bytes, KEY, phase));
}

#[test]
fn copy_and_mask_equals_the_byte_loop() {
    check("selected", lengths(), |bytes, phase| {
        let source = bytes.to_vec();
        bytes.fill(0xEE);
        copy_and_mask(&source, bytes, KEY, phase);
    });
}

#[test]
fn every_instruction_set_equals_the_byte_loop() {
    for set in available() {
        check(set.name(), lengths().filter(|&l| l >= BYTES_MIN), |bytes, phase| {
            // SAFETY: `available` yields only sets for which `is_available` holds.
            unsafe { set.apply(bytes, rotate(u32::from_le_bytes(KEY), phase)) }
        });
    }
}

#[test]
fn every_instruction_set_copies_as_the_byte_loop() {
    for set in available() {
        check(set.name(), lengths().filter(|&l| l >= BYTES_MIN), |bytes, phase| {
            let source = bytes.to_vec();
            bytes.fill(0xEE);
            // SAFETY: `available` yields only sets for which `is_available` holds.
            unsafe { set.copy(&source, bytes, rotate(u32::from_le_bytes(KEY), phase)) }
        });
    }
}

#[test]
fn too_few_bytes_for_an_instruction_set_are_left_alone() {
    for set in available() {
        for length in 0..BYTES_MIN {
            let mut bytes = sample(length);
            // SAFETY: `available` yields only sets for which `is_available` holds.
            unsafe { set.apply(&mut bytes, u32::from_le_bytes(KEY)) };
            assert_eq!(bytes, sample(length), "{}: {length} bytes", set.name());
        }
    }
}

#[test]
fn masking_twice_gives_the_original() {
    let mut bytes = sample(1000);
    apply_mask(&mut bytes, KEY, 3);
    assert_ne!(bytes, sample(1000));
    apply_mask(&mut bytes, KEY, 3);
    assert_eq!(bytes, sample(1000));
}

#[test]
fn pieces_with_their_phase_equal_the_whole() {
    let original = sample(400);
    let expected = naive(&original, KEY, 0);
    for cut in 0..=original.len() {
        let mut bytes = original.clone();
        let (head, tail) = bytes.split_at_mut(cut);
        apply_mask(head, KEY, 0);
        apply_mask(tail, KEY, cut);
        assert_eq!(bytes, expected, "cut at {cut}");
    }
}

#[test]
fn a_phase_near_the_largest_number_does_not_overflow() {
    let mut bytes = sample(90);
    apply_mask(&mut bytes, KEY, usize::MAX);
    assert_eq!(bytes, naive(&sample(90), KEY, 3));
}

#[test]
#[should_panic(expected = "unequal length")]
fn copy_between_unequal_lengths_panics() {
    copy_and_mask(&[1, 2, 3], &mut [0, 0], KEY, 0);
}

#[test]
fn the_instruction_set_in_use_is_the_widest_available() {
    let widest = available().next().map(InstructionSet::name);
    assert_eq!(Some(mask_in_use()), widest);
    assert_eq!(Some(mask_in_use()), widest, "the second answer comes from the cache");
}
