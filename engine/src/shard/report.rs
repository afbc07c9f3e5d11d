//! How a shard describes itself to whoever asks. It reads and changes nothing.

use std::cmp::Reverse;

use super::core::{Core, Side, Slot};
use crate::connection::Millis;
use crate::driver::peer_address;
use crate::handler::{ConnectionReport, Handler, ReportRequest, ShardReport, Token};

impl<H: Handler, D: Side> Core<H, D> {
    pub(super) fn report(&mut self, request: &ReportRequest) -> ShardReport {
        ShardReport {
            shard: request.shard,
            counters: self.services.counters,
            deliveries: self.services.deliveries,
            connections: self.slots.len(),
            draining: self.is_draining(),
            listed: self.list(request.connections_max),
        }
    }

    /// The connections for which most bytes wait.
    fn list(&mut self, connections_max: usize) -> Vec<ConnectionReport> {
        if connections_max == 0 {
            return Vec::new();
        }
        let mut waiting: Vec<(usize, Token)> = Vec::with_capacity(self.slots.len());
        for token in self.slots.tokens() {
            let queued = self.slots.get_mut(token).map(|slot| slot.connection.queued_bytes());
            waiting.push((queued.unwrap_or(0), token));
        }
        waiting.sort_unstable_by_key(|&(queued, token)| (Reverse(queued), token.slot));
        waiting.truncate(connections_max);
        let now = self.services.now;
        let mut listed = Vec::with_capacity(waiting.len());
        for (_, token) in waiting {
            listed.extend(self.slots.get_mut(token).map(|slot| describe(token, slot, now)));
        }
        listed
    }
}

fn describe<S, D: Side>(token: Token, slot: &Slot<S, D>, now: Millis) -> ConnectionReport {
    let socket = slot.socket();
    ConnectionReport {
        slot: token.slot,
        role: slot.connection.role(),
        address: slot.connection.client_address().or_else(|| socket.and_then(peer_address)),
        phase: slot.connection.phase(),
        phase_age: slot.connection.phase_age(now),
        queued_bytes: slot.connection.queued_bytes(),
    }
}
