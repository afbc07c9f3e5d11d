//! Which new connections come in: as many as the shard has room for, as fast as it may accept, and so
//! many of each client's address. It closes none itself.

use std::net::{IpAddr, SocketAddr};

use super::core::{Core, Side};
use crate::connection::Services;
use crate::handler::{AddressKey, Addresses, Excess, Handler, Neighbour};

/// The client address that a connection counts for, if it does.
pub(super) type Counted = Option<AddressKey>;

impl<H: Handler, D: Side> Core<H, D> {
    /// Whether a new connection may come in, and for which address it counts then. `None` for one
    /// that must be refused, which is counted by its reason. `peer` tells the socket's other end.
    pub(super) fn admit(&mut self, peer: impl FnOnce() -> Option<SocketAddr>) -> Option<Counted> {
        let services = &mut self.services;
        let (limits, counters, now) = (&services.limits, &mut services.counters, services.now);
        if self.slots.len() >= limits.connections_max {
            counters.refused_full += 1;
            return None;
        }
        if services.pool.budget.refuses_connections() {
            counters.refused_memory += 1;
            return None;
        }
        if !self.accepts.take(limits.accepts_per_second, now) {
            counters.refused_accept_rate += 1;
            return None;
        }
        let is_proxy = |peer: &SocketAddr| self.site.proxies().include(Neighbour::Address(*peer));
        match peer().filter(|peer| !is_proxy(peer)) {
            Some(client) => count_in(&self.addresses, client.ip(), services).ok(),
            None => Some(None),
        }
    }

    /// A connection that was admitted has not come in after all.
    pub(super) fn release(&self, counted: Counted) {
        if let Some(key) = counted {
            self.addresses.release(key);
        }
    }
}

/// Counts a connection of a client's address, or says that it is one too many.
pub(super) fn count_in(
    addresses: &Addresses,
    client: IpAddr,
    services: &mut Services,
) -> Result<Counted, Excess> {
    let Some(key) = AddressKey::of(client) else { return Ok(None) };
    let excess = match addresses.admit(key, &services.limits, services.now) {
        Ok(()) => return Ok(Some(key)),
        Err(excess) => excess,
    };
    *match excess {
        Excess::Connections => &mut services.counters.refused_address_connections,
        Excess::Rate => &mut services.counters.refused_address_rate,
    } += 1;
    addresses.warn(client, excess, services.now);
    Err(excess)
}
