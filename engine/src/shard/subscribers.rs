//! The connections of a shard as its topics see them. Who gets what is decided by the hub; the
//! driver sends.

use bytes::Bytes;

use super::core::Slot;
use super::slab::Slab;
use crate::buffer::Segment;
use crate::connection::{Phase, SendOutcome, Services};
use crate::handler::Token;
use crate::pubsub::{Audience, Savings, Taken};

/// The connections of a shard as its topics see them.
pub(super) struct Subscribers<'a, S, D> {
    pub(super) slots: &'a mut Slab<Slot<S, D>>,
    pub(super) services: &'a mut Services,
    pub(super) dirty: &'a mut Vec<Token>,
}

impl<S, D> Subscribers<'_, S, D> {
    #[inline]
    fn queue(&mut self, slot: u32, frames: Segment, messages: u32) -> Taken {
        let Some((token, slot)) = self.slots.at_mut(slot) else { return Taken::Closing };
        let waiting = slot.connection.queued_bytes();
        let outcome = slot.connection.send_framed(frames, messages, self.services);
        if !slot.dirty {
            slot.dirty = true;
            self.dirty.push(token);
        }
        if outcome == SendOutcome::Queued {
            self.services.deliveries.count(waiting as u64, u64::from(messages));
            return Taken::Queued;
        }
        if slot.connection.phase() == Phase::Open {
            return Taken::Dropped;
        }
        self.services.counters.published_closing += u64::from(messages);
        Taken::Closing
    }
}

impl<S, D> Audience for Subscribers<'_, S, D> {
    #[inline]
    fn send(&mut self, slot: u32, frames: Bytes, messages: u32) -> Taken {
        self.queue(slot, Segment::Shared(frames), messages)
    }

    fn send_compressed(
        &mut self,
        slot: u32,
        frames: Bytes,
        messages: u32,
        savings: Savings,
    ) -> Taken {
        let taken = self.queue(slot, Segment::Shared(frames), messages);
        if taken == Taken::Queued {
            let Savings { messages, from_bytes, to_bytes } = savings;
            self.services.count_compressed(messages, from_bytes, to_bytes);
        }
        taken
    }

    fn window_bits(&mut self, slot: u32) -> Option<u8> {
        self.slots.at_mut(slot)?.1.connection.shared_window_bits()
    }

    fn send_alone(&mut self, slot: u32, frames: Vec<u8>, messages: u32) -> Taken {
        self.queue(slot, Segment::Owned { bytes: frames, start: 0 }, messages)
    }

    fn note_shared(&mut self, bytes: usize) {
        self.services.pool.budget.set_shared(bytes);
    }

    fn queued_bytes(&mut self, slot: u32) -> Option<usize> {
        let (_, slot) = self.slots.at_mut(slot)?;
        (slot.connection.phase() == Phase::Open).then(|| slot.connection.queued_bytes())
    }

    fn set_lagging(&mut self, slot: u32) {
        if let Some((_, slot)) = self.slots.at_mut(slot) {
            slot.lagging = true;
        }
    }
}
