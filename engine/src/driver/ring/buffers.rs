//! The receive buffers that the kernel fills: one mapping, and the ring that lends them to the
//! kernel. A buffer belongs to the kernel from [`BufferRing::give_back`] until a completion names
//! it, and to us from then on; nothing here knows connections.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

/// Bytes behind each buffer that a parser may read past the end of a message, and that keep the
/// distance between buffers from being a power of two, where all of them would compete for the
/// same few cache sets.
const PADDING_BYTES: usize = 64;

/// A buffer the kernel has filled, until it is given back.
#[derive(Debug)]
#[must_use = "a lease that is dropped is a buffer lost to the kernel"]
pub(crate) struct Lease {
    buffer: u16,
    bytes: u32,
}

/// An anonymous mapping.
#[derive(Debug)]
struct Mapping {
    address: NonNull<u8>,
    bytes: usize,
}

impl Mapping {
    fn new(bytes: usize) -> io::Result<Self> {
        // SAFETY: a fresh private anonymous mapping at an address of the kernel's choice touches no
        // memory of ours. It is populated, so that no receive pays for a page fault.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let address = NonNull::new(address.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        // SAFETY: the range is the mapping just made. A child process must not share memory that
        // the kernel writes into on our behalf; failing to say so harms nobody who does not fork.
        unsafe { libc::madvise(address.as_ptr().cast(), bytes, libc::MADV_DONTFORK) };
        Ok(Self { address, bytes })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range was mapped in `new` and nothing borrowed from it outlives its owner.
        unsafe { libc::munmap(self.address.as_ptr().cast(), self.bytes) };
    }
}

/// The buffers of one group.
#[derive(Debug)]
pub(super) struct BufferRing {
    ring: Mapping,
    memory: Mapping,
    entries: u16,
    buffer_bytes: usize,
    stride_bytes: usize,
    tail: u16,
    /// Buffers with us, not with the kernel.
    leased: u16,
}

impl BufferRing {
    /// Maps `entries` buffers (a power of two) of `buffer_bytes` and lends all of them to the
    /// kernel as group `group`.
    pub(super) fn new(
        ring: &IoUring,
        group: u16,
        entries: u16,
        buffer_bytes: usize,
    ) -> io::Result<Self> {
        let unit = 64;
        let stride_bytes = (buffer_bytes + PADDING_BYTES).next_multiple_of(unit) | unit;
        let ring_bytes = usize::from(entries) * size_of::<BufRingEntry>();
        let mut buffers = Self {
            ring: Mapping::new(ring_bytes.max(4096))?,
            memory: Mapping::new(usize::from(entries) * stride_bytes)?,
            entries,
            buffer_bytes,
            stride_bytes,
            tail: 0,
            leased: entries,
        };
        let address = buffers.ring.address.as_ptr() as u64;
        // SAFETY: the address is that of a page-aligned mapping of `entries` ring entries, which
        // lives in this value; the ring that uses it is dropped first (`DataRing` declares it so).
        unsafe { ring.submitter().register_buf_ring_with_flags(address, entries, group, 0) }?;
        for buffer in 0..entries {
            buffers.give_back(Lease { buffer, bytes: 0 });
        }
        Ok(buffers)
    }

    /// The lease a completion speaks of; `None` for a buffer that does not exist.
    pub(super) fn lease(&mut self, buffer: u16, bytes: u32) -> Option<Lease> {
        if buffer >= self.entries || bytes as usize > self.buffer_bytes {
            return None;
        }
        self.leased += 1;
        Some(Lease { buffer, bytes })
    }

    /// The bytes received.
    pub(super) fn bytes_mut(&mut self, lease: &Lease) -> &mut [u8] {
        let offset = usize::from(lease.buffer) * self.stride_bytes;
        // SAFETY: `lease` checked the index and length against this mapping when it was made, and
        // the kernel does not write to a buffer between its completion and `give_back`, which
        // consumes the lease. The borrow of `self` keeps it the only reference.
        unsafe {
            let start = self.memory.address.as_ptr().add(offset);
            std::slice::from_raw_parts_mut(start, lease.bytes as usize)
        }
    }

    /// Lends the buffer to the kernel again.
    pub(super) fn give_back(&mut self, lease: Lease) {
        let entries = self.ring.address.as_ptr().cast::<BufRingEntry>();
        let index = usize::from(self.tail & (self.entries - 1));
        let offset = usize::from(lease.buffer) * self.stride_bytes;
        // SAFETY: the index is below `entries`, so the entry lies in the ring's mapping; the kernel
        // reads an entry only below the tail published after. Entry 0 shares its last field with
        // the tail itself, which the three setters leave alone.
        let tail = unsafe {
            let entry = &mut *entries.add(index);
            entry.set_addr(self.memory.address.as_ptr().add(offset) as u64);
            entry.set_len(self.buffer_bytes as u32);
            entry.set_bid(lease.buffer);
            &*BufRingEntry::tail(entries).cast::<AtomicU16>()
        };
        self.tail = self.tail.wrapping_add(1);
        self.leased -= 1;
        tail.store(self.tail, Ordering::Release);
    }

    /// Whether the kernel has at least a quarter of the buffers.
    pub(super) fn has_spare(&self) -> bool {
        self.entries - self.leased >= self.entries.div_ceil(4)
    }
}
