//! Operations that own memory the kernel uses: sends, direct receives, connects. The memory lives
//! here from submission to completion, whatever becomes of the connection; an entry is freed by
//! its completion and by nothing else.

use std::os::fd::RawFd;

use io_uring::types::Fd;
use io_uring::{opcode, squeue};
use socket2::SockAddr;

use super::buffers::BufferRing;
use super::prefetch::prefetch;
use super::tag::{GENERATION_MASK, Operation, Tag};
use crate::buffer::{Batch, Segment};
use crate::handler::Token;

/// Bytes of one send. Progress within it shows only when it is cancelled.
const SEND_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Slices of one gathered send (`IOV_MAX`).
const SLICES_MAX: usize = 1024;

/// What an operation owns.
#[derive(Debug)]
pub(super) enum Owned {
    Send { batch: Batch, sent: usize, total: usize, gather: Option<Box<Gather>> },
    Receive { buffer: Vec<u8>, room: usize },
    Connect { address: Box<SockAddr> },
}

/// The list of a gathered send; boxed, because the kernel keeps its address.
pub(super) struct Gather {
    header: libc::msghdr,
    slices: Vec<libc::iovec>,
}

impl std::fmt::Debug for Gather {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Gather").field("slices", &self.slices.len()).finish()
    }
}

/// An operation under way.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) token: Token,
    /// The descriptor, or with `fixed` its place among the ring's registered files.
    pub(super) fd: RawFd,
    pub(super) fixed: bool,
    pub(super) owned: Owned,
}

#[derive(Debug)]
struct Entry {
    generation: u32,
    pending: Option<Pending>,
}

/// The operations under way of one ring.
#[derive(Debug, Default)]
pub(super) struct OperationTable {
    entries: Vec<Entry>,
    free: Vec<u32>,
    send_flags: libc::c_int,
}

impl OperationTable {
    /// An empty table; with `ends_records` each send is a record of its own.
    pub(super) fn new(ends_records: bool) -> Self {
        let record = if ends_records { libc::MSG_EOR } else { 0 };
        let send_flags = libc::MSG_WAITALL | libc::MSG_NOSIGNAL | record;
        Self { entries: Vec::new(), free: Vec::new(), send_flags }
    }

    /// Takes an operation in: its number and the submission that starts it.
    pub(super) fn insert(
        &mut self,
        pending: Pending,
        buffers: &BufferRing,
    ) -> (u32, squeue::Entry) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(Entry { generation: 0, pending: None });
            (self.entries.len() - 1) as u32
        });
        let entry = &mut self.entries[index as usize];
        entry.pending = Some(pending);
        (index, self.submission(index, buffers))
    }

    /// Continues an operation that is still in the table.
    pub(super) fn submission(&mut self, index: u32, buffers: &BufferRing) -> squeue::Entry {
        let entry = &mut self.entries[index as usize];
        let tag = Tag::new(Operation::Owning, entry.generation, index);
        let submission = match &mut entry.pending {
            Some(pending) if pending.fixed => {
                let submission = pending.submission(buffers, self.send_flags);
                submission.flags(squeue::Flags::FIXED_FILE)
            }
            Some(pending) => pending.submission(buffers, self.send_flags),
            None => opcode::Nop::new().build(),
        };
        submission.user_data(tag.pack())
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.entries.iter().all(|entry| entry.pending.is_none())
    }

    /// The operation a completion speaks of; `None` for a stale or invented tag.
    pub(super) fn get_mut(&mut self, tag: Tag) -> Option<&mut Pending> {
        let entry = self.entries.get_mut(tag.index as usize)?;
        if entry.generation != tag.generation {
            return None;
        }
        entry.pending.as_mut()
    }

    /// Asks for an entry's memory.
    pub(super) fn prefetch(&self, tag: Tag) {
        if let Some(entry) = self.entries.get(tag.index as usize) {
            prefetch(entry);
        }
    }

    /// The connection of an operation.
    pub(super) fn token(&self, tag: Tag) -> Option<Token> {
        let entry = self.entries.get(tag.index as usize)?;
        Some(entry.pending.as_ref()?.token)
    }

    /// Takes a completed operation out.
    pub(super) fn remove(&mut self, tag: Tag) -> Option<Pending> {
        let entry = self.entries.get_mut(tag.index as usize)?;
        if entry.generation != tag.generation {
            return None;
        }
        let pending = entry.pending.take()?;
        entry.generation = (entry.generation + 1) & GENERATION_MASK;
        self.free.push(tag.index);
        Some(pending)
    }

    /// The tag of a connection's operation, to cancel it; `None` when it has completed.
    pub(super) fn tag(&self, number: u32, token: Token) -> Option<Tag> {
        let entry = self.entries.get(number as usize)?;
        let own = entry.pending.as_ref()?.token == token;
        own.then(|| Tag::new(Operation::Owning, entry.generation, number))
    }
}

impl Pending {
    fn submission(&mut self, buffers: &BufferRing, flags: libc::c_int) -> squeue::Entry {
        let fd = Fd(self.fd);
        match &mut self.owned {
            Owned::Send { batch: Batch::One(segment), sent, .. } => {
                let rest = &bytes_of(segment, buffers)[*sent..];
                let length = rest.len().min(SEND_BYTES_MAX) as u32;
                opcode::Send::new(fd, rest.as_ptr(), length).flags(flags).build()
            }
            Owned::Send { batch: Batch::Many(segments), sent, gather, .. } => {
                let mut skip = *sent;
                let mut bytes = 0;
                let mut slices = Vec::with_capacity(segments.len().min(SLICES_MAX));
                for segment in segments.iter() {
                    let all = bytes_of(segment, buffers);
                    let slice = &all[skip.min(all.len())..];
                    skip = skip.saturating_sub(all.len());
                    if slice.is_empty() {
                        continue;
                    }
                    if slices.len() == SLICES_MAX || bytes >= SEND_BYTES_MAX {
                        break;
                    }
                    let length = slice.len().min(SEND_BYTES_MAX);
                    bytes += length;
                    slices.push(libc::iovec {
                        iov_base: slice.as_ptr().cast_mut().cast(),
                        iov_len: length,
                    });
                    if length < slice.len() {
                        break;
                    }
                }
                // SAFETY: all zeros is a valid `msghdr`: null pointers with zero lengths.
                let header = unsafe { std::mem::zeroed::<libc::msghdr>() };
                let list = gather.insert(Box::new(Gather { header, slices }));
                list.header.msg_iov = list.slices.as_mut_ptr();
                list.header.msg_iovlen = list.slices.len() as _;
                let header: *const libc::msghdr = &list.header;
                opcode::SendMsg::new(fd, header).flags(flags as u32).build()
            }
            Owned::Receive { buffer, room } => {
                let spare = buffer.spare_capacity_mut();
                let length = spare.len().min(*room) as u32;
                opcode::Recv::new(fd, spare.as_mut_ptr().cast(), length).build()
            }
            Owned::Connect { address } => {
                opcode::Connect::new(fd, address.as_ptr().cast(), address.len()).build()
            }
        }
    }
}

/// Where a segment's bytes are: with itself, or in a receive buffer that is kept for it.
fn bytes_of<'a>(segment: &'a Segment, buffers: &'a BufferRing) -> &'a [u8] {
    match segment {
        Segment::Lent { buffer, range } => buffers.run(*buffer, range.clone()),
        other => other.bytes(),
    }
}
