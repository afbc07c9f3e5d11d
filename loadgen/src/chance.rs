//! Numbers by chance, the same in every run. Good for times, and for nothing that has to be secret.

/// A source of them (xorshift).
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    /// One of many sources, each with numbers of its own.
    pub(crate) fn of(number: usize) -> Self {
        // Any number but zero will do for a seed.
        Self(0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(2 * number as u64 + 1))
    }

    /// A number from 0 up to but not including 1.
    pub(crate) fn fraction(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number of an exponential distribution with a mean of 1.
    pub(crate) fn exponential(&mut self) -> f64 {
        -(1.0 - self.fraction()).ln()
    }
}
