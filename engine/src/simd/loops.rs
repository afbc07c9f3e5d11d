//! The masking loops, in safe code, for any width of vector.
//!
//! No instruction set is named or detected here. Everything is inlined into its callers, which
//! are compiled for one set each; the fixed sizes of the chunks are what lets the compiler use
//! whole vectors.

/// The fewest bytes that [`apply_long`] and [`copy_long`] can do.
pub(super) const BYTES_MIN: usize = 64;

/// Masks in place. `BLOCK` is the width of a vector; `GROUP` is as many vectors as the registers
/// hold comfortably, because loading all of them before storing any is what keeps loads from
/// waiting for the stores just before them.
///
/// The first and the last block are read before anything is written and written after everything
/// else, wherever they lie; between them only aligned blocks are touched. Where these overlap,
/// both writers hold the same masked byte, so no byte is XORed twice and neither a ragged head
/// nor a ragged tail needs a loop of its own.
#[inline(always)]
pub(super) fn apply_long<const BLOCK: usize, const GROUP: usize>(bytes: &mut [u8], key: u32) {
    let length = bytes.len();
    if length <= 2 * BYTES_MIN {
        return apply_to_ends::<BYTES_MIN>(bytes, key);
    }
    let (Some(first), Some(last)) = (bytes.first_chunk::<BLOCK>(), bytes.last_chunk::<BLOCK>())
    else {
        return;
    };
    let first = xor_chunk(first, key);
    let last = xor_chunk(last, rotate(key, length.wrapping_sub(BLOCK)));

    let head = distance_to_aligned::<BLOCK>(bytes.as_ptr());
    let aligned_key = rotate(key, head);
    // One byte less than there is: a block that the last one covers exactly is not done twice.
    let mut between = bytes.get_mut(head..length.wrapping_sub(1)).unwrap_or_default();
    while between.len() >= GROUP {
        between = apply_to_start::<GROUP>(between, aligned_key);
    }
    if GROUP > 512 {
        between = apply_to_start::<512>(between, aligned_key);
    }
    if GROUP > 256 {
        between = apply_to_start::<256>(between, aligned_key);
    }
    if GROUP > 128 {
        between = apply_to_start::<128>(between, aligned_key);
    }
    between = apply_to_start::<64>(between, aligned_key);
    if BLOCK < 64 {
        between = apply_to_start::<32>(between, aligned_key);
    }
    if BLOCK < 32 {
        apply_to_start::<16>(between, aligned_key);
    }

    if let Some(place) = bytes.first_chunk_mut::<BLOCK>() {
        *place = first;
    }
    if let Some(place) = bytes.last_chunk_mut::<BLOCK>() {
        *place = last;
    }
}

/// Masks the first `SIZE` bytes, if there are as many, and returns what is left to do.
#[inline(always)]
fn apply_to_start<const SIZE: usize>(bytes: &mut [u8], key: u32) -> &mut [u8] {
    if bytes.len() < SIZE {
        return bytes;
    }
    let (start, rest) = bytes.split_at_mut(SIZE);
    if let Some(chunk) = start.first_chunk_mut::<SIZE>() {
        *chunk = xor_chunk(chunk, key);
    }
    rest
}

/// Masks while copying. Blocks are aligned in the destination; the first and the last one are
/// not and overlap their neighbours, to which they write the same bytes.
#[inline(always)]
pub(super) fn copy_long<const BLOCK: usize, const GROUP: usize>(
    source: &[u8],
    destination: &mut [u8],
    key: u32,
) {
    let length = source.len();
    let Some(destination) = destination.get_mut(..length) else { return };
    if length <= 2 * BYTES_MIN {
        return copy_ends::<BYTES_MIN>(source, destination, key);
    }
    if let (Some(from), Some(to)) =
        (source.first_chunk::<BLOCK>(), destination.first_chunk_mut::<BLOCK>())
    {
        *to = xor_chunk(from, key);
    }

    let head = distance_to_aligned::<BLOCK>(destination.as_ptr());
    let aligned_key = rotate(key, head);
    let between = head..length.wrapping_sub(1);
    let mut from = source.get(between.clone()).unwrap_or_default();
    let mut to = destination.get_mut(between).unwrap_or_default();
    while from.len() >= GROUP && to.len() >= GROUP {
        (from, to) = copy_start::<GROUP>(from, to, aligned_key);
    }
    if GROUP > 512 {
        (from, to) = copy_start::<512>(from, to, aligned_key);
    }
    if GROUP > 256 {
        (from, to) = copy_start::<256>(from, to, aligned_key);
    }
    if GROUP > 128 {
        (from, to) = copy_start::<128>(from, to, aligned_key);
    }
    (from, to) = copy_start::<64>(from, to, aligned_key);
    if BLOCK < 64 {
        (from, to) = copy_start::<32>(from, to, aligned_key);
    }
    if BLOCK < 32 {
        copy_start::<16>(from, to, aligned_key);
    }

    if let (Some(from), Some(to)) =
        (source.last_chunk::<BLOCK>(), destination.last_chunk_mut::<BLOCK>())
    {
        *to = xor_chunk(from, rotate(key, length.wrapping_sub(BLOCK)));
    }
}

/// As [`apply_to_start`], from `source` into `destination`.
#[inline(always)]
fn copy_start<'a, const SIZE: usize>(
    source: &'a [u8],
    destination: &'a mut [u8],
    key: u32,
) -> (&'a [u8], &'a mut [u8]) {
    if source.len() < SIZE || destination.len() < SIZE {
        return (source, destination);
    }
    let (from, source_rest) = source.split_at(SIZE);
    let (to, destination_rest) = destination.split_at_mut(SIZE);
    if let (Some(from), Some(to)) = (from.first_chunk::<SIZE>(), to.first_chunk_mut::<SIZE>()) {
        *to = xor_chunk(from, key);
    }
    (source_rest, destination_rest)
}

/// Masks the first `SIZE` and the last `SIZE` bytes, which together must be all of them. Both
/// are read before either is written; where they overlap they agree. Does nothing if there are
/// fewer than `SIZE` bytes.
#[inline(always)]
pub(super) fn apply_to_ends<const SIZE: usize>(bytes: &mut [u8], key: u32) {
    let (Some(first), Some(last)) = (bytes.first_chunk::<SIZE>(), bytes.last_chunk::<SIZE>())
    else {
        return;
    };
    let first = xor_chunk(first, key);
    let last = xor_chunk(last, rotate(key, bytes.len().wrapping_sub(SIZE)));
    if let Some(place) = bytes.first_chunk_mut::<SIZE>() {
        *place = first;
    }
    if let Some(place) = bytes.last_chunk_mut::<SIZE>() {
        *place = last;
    }
}

/// As [`apply_to_ends`], from `source` into `destination` of equal length.
#[inline(always)]
pub(super) fn copy_ends<const SIZE: usize>(source: &[u8], destination: &mut [u8], key: u32) {
    let (Some(first), Some(last)) = (source.first_chunk::<SIZE>(), source.last_chunk::<SIZE>())
    else {
        return;
    };
    if let Some(place) = destination.first_chunk_mut::<SIZE>() {
        *place = xor_chunk(first, key);
    }
    if let Some(place) = destination.last_chunk_mut::<SIZE>() {
        *place = xor_chunk(last, rotate(key, source.len().wrapping_sub(SIZE)));
    }
}

/// The key as it applies `distance` bytes further on.
#[inline(always)]
pub(super) fn rotate(key: u32, distance: usize) -> u32 {
    key.rotate_right((distance as u32 & 3) * 8)
}

/// How many bytes after `address` the next multiple of `BLOCK` (a power of two) begins, 1 to
/// `BLOCK`: an aligned address is a whole block away, because the first block is done anyway.
#[inline(always)]
fn distance_to_aligned<const BLOCK: usize>(address: *const u8) -> usize {
    BLOCK - (address.addr() & (BLOCK - 1))
}

/// `chunk` XORed with the little-endian bytes of `key`, repeated.
#[inline(always)]
fn xor_chunk<const SIZE: usize>(chunk: &[u8; SIZE], key: u32) -> [u8; SIZE] {
    let mut masked = *chunk;
    let (words, _) = masked.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_le_bytes(*word) ^ key).to_le_bytes();
    }
    masked
}
