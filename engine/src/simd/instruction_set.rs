//! The masking loops compiled once for each instruction set, and the choice between them.
//!
//! This file holds no loop and does not decide which lengths are worth a call; [`super::loops`]
//! and [`super::mask`] do. Every instance is the same safe function under another
//! `#[target_feature]`, and the compiler turns its blocks into vector instructions of that width.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::simd::loops::{apply_long, copy_long};

/// One compilation of the masking loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum InstructionSet {
    /// What every processor of the target has: SSE2, NEON, or plain words elsewhere.
    Baseline = 1,
    /// 32-byte vectors.
    #[cfg(target_arch = "x86_64")]
    Avx2 = 2,
    /// 64-byte vectors.
    #[cfg(target_arch = "x86_64")]
    Avx512 = 3,
}

/// The detected instruction set as its discriminant; 0 until the first use. A race between two
/// first uses is harmless because both store the same value.
static DETECTED: AtomicU8 = AtomicU8::new(0);

impl InstructionSet {
    /// Every instruction set this build knows, the widest first.
    #[cfg(target_arch = "x86_64")]
    pub(super) const ALL: &[Self] = &[Self::Avx512, Self::Avx2, Self::Baseline];
    /// Every instruction set this build knows, the widest first.
    #[cfg(not(target_arch = "x86_64"))]
    pub(super) const ALL: &[Self] = &[Self::Baseline];

    /// The widest instruction set this machine offers. [`Self::is_available`] holds for it.
    #[inline]
    pub(super) fn detected() -> Self {
        match DETECTED.load(Ordering::Relaxed) {
            #[cfg(target_arch = "x86_64")]
            value if value == Self::Avx512 as u8 => Self::Avx512,
            #[cfg(target_arch = "x86_64")]
            value if value == Self::Avx2 as u8 => Self::Avx2,
            value if value == Self::Baseline as u8 => Self::Baseline,
            _ => Self::detect(),
        }
    }

    #[cold]
    fn detect() -> Self {
        let widest = Self::ALL.iter().copied().find(|set| set.is_available());
        let set = widest.unwrap_or(Self::Baseline);
        DETECTED.store(set as u8, Ordering::Relaxed);
        set
    }

    /// Whether this machine can run the instance.
    pub(super) fn is_available(self) -> bool {
        match self {
            Self::Baseline => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => std::arch::is_x86_feature_detected!("avx2"),
            // VBMI2 is not used. Processors that have it run 64-byte vectors at full clock,
            // while the older ones with AVX-512 slow their whole core down for them.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                std::arch::is_x86_feature_detected!("avx512f")
                    && std::arch::is_x86_feature_detected!("avx512vbmi2")
            }
        }
    }

    /// The name people know the instruction set by.
    pub(super) fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            Self::Baseline if cfg!(target_arch = "x86_64") => "sse2",
            Self::Baseline if cfg!(target_arch = "aarch64") => "neon",
            Self::Baseline => "portable",
        }
    }

    /// XORs `bytes` with the little-endian bytes of `key`, repeated. Fewer bytes than
    /// `BYTES_MIN` are left as they are.
    ///
    /// # Safety
    /// - [`Self::is_available`] must hold.
    #[inline]
    pub(super) unsafe fn apply(self, bytes: &mut [u8], key: u32) {
        match self {
            Self::Baseline => apply_long::<16, 128>(bytes, key),
            // SAFETY: the caller vouches for `is_available`, which tested avx2.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { apply_avx2(bytes, key) },
            // SAFETY: the caller vouches for `is_available`, which tested avx512f.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { apply_avx512(bytes, key) },
        }
    }

    /// As [`Self::apply`], from `source` into `destination`, which must not be shorter.
    /// Nothing is written otherwise.
    ///
    /// # Safety
    /// - [`Self::is_available`] must hold.
    #[inline]
    pub(super) unsafe fn copy(self, source: &[u8], destination: &mut [u8], key: u32) {
        match self {
            Self::Baseline => copy_long::<16, 128>(source, destination, key),
            // SAFETY: the caller vouches for `is_available`, which tested avx2.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { copy_avx2(source, destination, key) },
            // SAFETY: the caller vouches for `is_available`, which tested avx512f.
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => unsafe { copy_avx512(source, destination, key) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn apply_avx512(bytes: &mut [u8], key: u32) {
    apply_long::<64, 1024>(bytes, key);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn apply_avx2(bytes: &mut [u8], key: u32) {
    apply_long::<32, 256>(bytes, key);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn copy_avx512(source: &[u8], destination: &mut [u8], key: u32) {
    copy_long::<64, 1024>(source, destination, key);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn copy_avx2(source: &[u8], destination: &mut [u8], key: u32) {
    copy_long::<32, 256>(source, destination, key);
}
