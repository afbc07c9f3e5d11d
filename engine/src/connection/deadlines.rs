//! What the passing of time means to a connection. It reads no clock: time is passed in.

use std::time::Duration;

use super::time::Since;
use super::{Application, Connection, Millis, Phase, Services};
use crate::protocol::{CloseCode, ProtocolError};

impl Connection {
    /// The earliest moment at which [`handle_deadline`](Self::handle_deadline) has work to do.
    #[must_use]
    pub fn next_deadline(&self, services: &Services) -> Millis {
        let limits = &services.limits;
        let mut next = match self.phase {
            Phase::Handshake => self.phase_since.after(limits.handshake_timeout),
            Phase::Open => {
                let silence = limits.ping_interval * (u32::from(self.pings_missed) + 1);
                let life = self.phase_since.after(limits.lifetime_max);
                self.last_received.after(silence).earlier(life)
            }
            Phase::CloseSent | Phase::Flushing => self.phase_since.after(limits.close_timeout),
            Phase::Lingering => self.phase_since.after(limits.linger_timeout),
            Phase::Ended => self.phase_since.after(Duration::from_millis(1)),
        };
        if self.phase == Phase::Open {
            if let Some(since) = self.assembly_since.get() {
                next = next.earlier(since.after(limits.assembly_timeout));
            }
            if let Some(since) = self.stalled_since.get() {
                next = next.earlier(since.after(limits.write_stall_timeout));
            }
        }
        next
    }

    /// Acts on whichever deadline has passed.
    pub fn handle_deadline(&mut self, services: &mut Services, application: &mut impl Application) {
        if !services.now.reached(self.next_deadline(services)) {
            return;
        }
        match self.phase {
            Phase::Handshake => self.opening_timed_out(services, application),
            Phase::Open => self.open_deadline(services, application),
            Phase::CloseSent => {
                services.counters.timeouts_close += 1;
                self.handle_end(true, services, application);
            }
            Phase::Flushing | Phase::Lingering | Phase::Ended => self.abandon(services),
        }
    }

    fn open_deadline(&mut self, services: &mut Services, application: &mut impl Application) {
        let now = services.now;
        let limits = &services.limits;
        let past = |since: Since, span: Duration| {
            since.get().is_some_and(|since| now.reached(since.after(span)))
        };
        if now.reached(self.phase_since.after(limits.lifetime_max)) {
            services.counters.lifetimes_ended += 1;
            return self.close(
                CloseCode::GOING_AWAY,
                "open for long enough: connect again",
                services,
            );
        }
        if past(self.stalled_since, limits.write_stall_timeout) {
            services.counters.timeouts_write += 1;
            self.handle_end(true, services, application);
        } else if u32::from(self.pings_missed) >= limits.ping_misses_max {
            services.counters.timeouts_ping += 1;
            self.handle_end(true, services, application);
        } else if past(self.assembly_since, limits.assembly_timeout) && !self.is_held() {
            self.fail(ProtocolError::AssemblyTimeout, services, application);
        } else {
            if self.is_held() {
                // What the peer sends is not received, so its silence says nothing. The Ping is
                // for the transport, which then learns whether the peer is still there.
                self.receiving_again(now);
            } else {
                self.pings_missed += 1;
            }
            let _ = self.send_ping(b"", services);
        }
    }
}
