//! A hint to the processor; it changes nothing but time.

/// Asks for a value's memory, so that it is near when it is used a little later.
#[inline]
pub(crate) fn prefetch<T>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let start: *const i8 = std::ptr::from_ref(value).cast();
        for line in (0..size_of::<T>()).step_by(64) {
            // SAFETY: the address lies in a value that is borrowed; a prefetch reads nothing that
            // the program could see and cannot fault.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(start.add(line)) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}
