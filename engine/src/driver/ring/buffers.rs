//! The receive buffers that the kernel fills: one mapping, and the ring that lends them to the
//! kernel. A buffer belongs to the kernel from [`BufferRing::give_back`] until a completion names
//! it, and to us from then on; nothing here knows connections.

use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use super::queues::Queues;

/// Bytes behind each buffer that a parser may read past the end of a message, and that keep the
/// distance between buffers from being a power of two, where all of them would compete for the
/// same few cache sets.
const PADDING_BYTES: usize = 64;

/// Buffers lent before it is known how many are needed: more receives than this rarely complete in
/// one turn, and together they fit the second-level cache.
const LENT_AT_FIRST: u16 = 64;

/// A buffer the kernel has filled, until it is given back.
#[derive(Debug)]
#[must_use = "a lease that is dropped is a buffer lost to the kernel"]
pub(crate) struct Lease {
    buffer: u16,
    bytes: u32,
}

impl Lease {
    /// The buffer's number.
    pub(crate) fn buffer(&self) -> u16 {
        self.buffer
    }
}

/// An anonymous mapping; of no bytes once it is to stay for ever.
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
        if self.bytes == 0 {
            return;
        }
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
    /// Buffers the kernel has now.
    lent: u16,
    /// Buffers the kernel is to have. The kernel takes them in turn, so the fewer there are the
    /// sooner each is used again, while it is still in the cache; more are lent once they ran out.
    lent_target: u16,
    /// Those it does not have, the one used last on top.
    reserve: Vec<u16>,
    /// Buffers that are being sent from.
    shared: u16,
    /// How many runs are being sent from each buffer.
    shares: Vec<u32>,
}

impl BufferRing {
    /// Maps `entries` buffers (a power of two) of `buffer_bytes` and lends the first of them to the
    /// kernel as group `group`.
    pub(super) fn new(
        queues: &mut impl Queues,
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
            lent: 0,
            lent_target: entries.min(LENT_AT_FIRST),
            reserve: (0..entries).rev().collect(),
            shared: 0,
            shares: vec![0; usize::from(entries)],
        };
        let address = buffers.ring.address.as_ptr() as u64;
        // SAFETY: the address is that of a page-aligned mapping of `entries` ring entries, which
        // lives in this value; the queues that use it are dropped first (`DataRing` declares it so).
        unsafe { queues.register_buffers(address, entries, group) }?;
        buffers.lend_reserve();
        Ok(buffers)
    }

    /// Keeps the memory mapped for ever, because the kernel may still write to it.
    pub(super) fn leak(&mut self) {
        (self.ring.bytes, self.memory.bytes) = (0, 0);
    }

    /// The lease a completion speaks of; `None` for a buffer that does not exist.
    pub(super) fn lease(&mut self, buffer: u16, bytes: u32) -> Option<Lease> {
        if buffer >= self.entries || bytes as usize > self.buffer_bytes {
            return None;
        }
        self.lent = self.lent.saturating_sub(1);
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

    /// Whether a buffer may be kept to send from: never more than half of them, so that peers who
    /// do not read cannot take the receive buffers from all the others.
    pub(super) fn may_share(&self) -> bool {
        self.shared < self.entries / 2
    }

    /// Keeps the buffer until `shares` runs of it have been sent.
    pub(super) fn keep(&mut self, lease: Lease, shares: u32) {
        self.shared += 1;
        self.shares[usize::from(lease.buffer)] = shares;
        self.lend_reserve();
    }

    /// Notes that one run of a kept buffer is not needed any more.
    pub(super) fn release(&mut self, buffer: u16) {
        let Some(shares) = self.shares.get_mut(usize::from(buffer)) else { return };
        *shares = shares.saturating_sub(1);
        if *shares == 0 {
            self.shared = self.shared.saturating_sub(1);
            self.give_back(Lease { buffer, bytes: 0 });
        }
    }

    /// The bytes of a run of a kept buffer.
    pub(super) fn run(&self, buffer: u16, range: Range<u32>) -> &[u8] {
        let offset = usize::from(buffer) * self.stride_bytes;
        assert!(buffer < self.entries && range.end as usize <= self.buffer_bytes);
        // SAFETY: the range lies within one buffer of the mapping, as was just checked. The kernel
        // does not write to a buffer that is kept, and `&self` keeps us from writing.
        unsafe {
            let start = self.memory.address.as_ptr().add(offset + range.start as usize);
            std::slice::from_raw_parts(start, range.len())
        }
    }

    /// Takes a buffer back from whoever handled it and lends it to the kernel again.
    pub(super) fn give_back(&mut self, lease: Lease) {
        if self.lent < self.lent_target {
            self.lend(lease.buffer);
        } else {
            self.reserve.push(lease.buffer);
        }
    }

    /// Lends twice as many from now on: they ran out.
    pub(super) fn widen(&mut self) {
        self.lent_target = self.lent_target.saturating_mul(2).min(self.entries);
        self.lend_reserve();
    }

    fn lend_reserve(&mut self) {
        while self.lent < self.lent_target
            && let Some(buffer) = self.reserve.pop()
        {
            self.lend(buffer);
        }
    }

    fn lend(&mut self, buffer: u16) {
        let entries = self.ring.address.as_ptr().cast::<BufRingEntry>();
        let index = usize::from(self.tail & (self.entries - 1));
        let offset = usize::from(buffer) * self.stride_bytes;
        // SAFETY: the index is below `entries`, so the entry lies in the ring's mapping; the kernel
        // reads an entry only below the tail published after. Entry 0 shares its last field with
        // the tail itself, which the three setters leave alone.
        let tail = unsafe {
            let entry = &mut *entries.add(index);
            entry.set_addr(self.memory.address.as_ptr().add(offset) as u64);
            entry.set_len(self.buffer_bytes as u32);
            entry.set_bid(buffer);
            &*BufRingEntry::tail(entries).cast::<AtomicU16>()
        };
        self.tail = self.tail.wrapping_add(1);
        self.lent += 1;
        tail.store(self.tail, Ordering::Release);
    }

    /// Whether each buffer is either lent or in the reserve.
    #[cfg(test)]
    pub(super) fn is_whole(&self) -> bool {
        self.shared == 0 && usize::from(self.lent) + self.reserve.len() == self.entries.into()
    }

    /// Whether the kernel has at least a quarter of what it is to have.
    pub(super) fn has_spare(&self) -> bool {
        self.lent >= self.lent_target.div_ceil(4)
    }
}
