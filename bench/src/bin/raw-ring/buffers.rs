//! The ring of provided buffers: the kernel takes one for each receive, the server gives it back.
//!
//! No receive is submitted here.

use std::alloc::{Layout, alloc_zeroed};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

/// The group that receives name to take their buffers from this ring.
pub(crate) const GROUP: u16 = 0;

/// Pages of the kernel; ring and buffers begin on one.
const PAGE_BYTES: usize = 4096;

/// Buffers and the ring that hands them to the kernel. Neither memory is ever freed: the server
/// runs until its process ends.
pub(crate) struct Buffers {
    ring: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    count: u16,
    bytes: usize,
    stride_bytes: usize,
    /// Buffers given to the kernel so far, modulo 2^16; the kernel learns it in `publish`.
    tail: u16,
}

impl Buffers {
    /// Allocates `count` buffers (a power of two) of `bytes` each, `gap_bytes` apart, and gives
    /// all of them to the kernel.
    pub(crate) fn register(
        submitter: &Submitter<'_>,
        count: u16,
        bytes: usize,
        gap_bytes: usize,
    ) -> io::Result<Self> {
        if !count.is_power_of_two() || count > 32_768 || u32::try_from(bytes).is_err() {
            return Err(io::Error::other("buffers come in a power of two, at most 32768"));
        }
        let stride_bytes = bytes + gap_bytes;
        let ring = zeroed_pages(usize::from(count) * size_of::<BufRingEntry>())?.cast();
        let memory = zeroed_pages(usize::from(count) * stride_bytes)?;
        // SAFETY: `ring` is page-aligned, zeroed, holds `count` entries and is never freed.
        unsafe { submitter.register_buf_ring_with_flags(ring.as_ptr() as u64, count, GROUP, 0)? };
        let mut buffers = Self { ring, memory, count, bytes, stride_bytes, tail: 0 };
        for id in 0..count {
            buffers.give_back(id);
        }
        buffers.publish();
        Ok(buffers)
    }

    /// The first `count` bytes of buffer `id`, which a receive has just filled.
    pub(crate) fn filled(&self, id: u16, count: usize) -> &[u8] {
        assert!(id < self.count && count <= self.bytes, "the kernel named a buffer of this ring");
        // SAFETY: the range lies inside `memory` by the assertion. Between the completion and
        // `give_back`, for which `self` must be borrowed mutably, the kernel does not touch it.
        unsafe { std::slice::from_raw_parts(self.address(id), count) }
    }

    /// Puts buffer `id` back in the ring; the kernel sees it after [`Self::publish`].
    pub(crate) fn give_back(&mut self, id: u16) {
        let index = usize::from(self.tail & (self.count - 1));
        // SAFETY: `index` is below `count`. The kernel does not read an entry between its own
        // head and the published tail's end, and there are never more than `count` in the ring.
        let entry = unsafe { &mut *self.ring.as_ptr().add(index) };
        entry.set_addr(self.address(id) as u64);
        entry.set_len(self.bytes as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Tells the kernel of all buffers given back.
    pub(crate) fn publish(&self) {
        // SAFETY: `ring` is the address of the first entry, whose reserved field is the tail; it
        // is aligned for `u16`, and this process only ever writes it here, atomically.
        let tail =
            unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.ring.as_ptr()).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    fn address(&self, id: u16) -> *mut u8 {
        // SAFETY: callers name buffers below `count`, all of which lie inside `memory`.
        unsafe { self.memory.as_ptr().add(usize::from(id) * self.stride_bytes) }
    }
}

fn zeroed_pages(bytes: usize) -> io::Result<NonNull<u8>> {
    let layout = Layout::from_size_align(bytes.max(1), PAGE_BYTES).map_err(io::Error::other)?;
    // SAFETY: the layout's size is not zero.
    NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}
