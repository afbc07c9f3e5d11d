//! Where input is cut: decided by the first bytes of the data, so that the fuzzer decides.

/// Sizes of pieces, repeated for ever.
#[derive(Clone, Debug)]
pub(super) struct Cuts {
    sizes: [u8; 4],
    next: usize,
}

impl Cuts {
    /// Takes four bytes for the cuts; the rest is the input.
    pub(super) fn take(data: &[u8]) -> Option<(Self, &[u8])> {
        let (sizes, rest) = data.split_first_chunk::<4>()?;
        Some((Self { sizes: *sizes, next: 0 }, rest))
    }

    /// The input in pieces of one byte to 256.
    pub(super) fn pieces(mut self, mut input: &[u8]) -> impl Iterator<Item = &[u8]> {
        std::iter::from_fn(move || {
            if input.is_empty() {
                return None;
            }
            let size = usize::from(self.sizes[self.next % 4]) + 1;
            self.next += 1;
            let (piece, rest) = input.split_at(size.min(input.len()));
            input = rest;
            Some(piece)
        })
    }
}
