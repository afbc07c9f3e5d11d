//! What the passing of time means to a connection. It reads no clock: time is passed in.

use std::time::Duration;

use super::time::Since;
use super::{Application, Connection, Holds, Millis, Phase, Services};
use crate::protocol::{CloseCode, ProtocolError};

/// How long a driver may take to find out whether a send makes progress.
const CHECK_TIMEOUT: Duration = Duration::from_secs(1);

impl Connection {
    /// The earliest moment at which [`handle_deadline`](Self::handle_deadline) has work to do.
    #[must_use]
    pub fn next_deadline(&self, services: &Services) -> Millis {
        let limits = &services.limits;
        let standstill = self.standstill_deadline(services);
        match self.phase {
            Phase::Handshake => self.phase_since.after(limits.handshake_timeout),
            Phase::Open => {
                let silence = limits.ping_interval * (u32::from(self.pings_missed) + 1);
                let life = self.phase_since.after(limits.lifetime_max);
                let assembly = self.assembly_since.get();
                let assembly = assembly.map(|since| since.after(limits.assembly_timeout));
                let others = [Some(life), assembly, standstill].into_iter().flatten();
                others.fold(self.last_received.after(silence), Millis::earlier)
            }
            Phase::Ended => self.phase_since.after(Duration::from_millis(1)),
            // Their own clocks start when the last byte has left: until then a peer may take its
            // time as long as it takes something.
            Phase::CloseSent | Phase::Flushing | Phase::Lingering => {
                standstill.unwrap_or_else(|| {
                    self.phase_since.after(match self.phase {
                        Phase::Lingering => limits.linger_timeout,
                        _ => limits.close_timeout,
                    })
                })
            }
        }
    }

    /// When it is too long that bytes wait and the peer takes none.
    fn standstill_deadline(&self, services: &Services) -> Option<Millis> {
        let limits = &services.limits;
        let span = match self.phase {
            Phase::Open => limits.write_stall_timeout,
            Phase::CloseSent | Phase::Flushing | Phase::Lingering => limits.close_timeout,
            Phase::Handshake | Phase::Ended => return None,
        };
        let grace = if self.wants_send_checked() { CHECK_TIMEOUT } else { Duration::ZERO };
        Some(self.stalled_since.get()?.after(span + grace))
    }

    /// Whether the driver is to find out if the kernel has taken any of the send that is under way.
    #[inline]
    #[must_use]
    pub fn wants_send_checked(&self) -> bool {
        self.holds.any(Holds::CHECKED)
    }

    /// Bytes wait and the peer has taken none for too long, as far as is known here.
    fn handle_standstill(&mut self, services: &mut Services, application: &mut impl Application) {
        let known = services.progress_is_told || self.wants_send_checked();
        self.holds.set(Holds::CHECKED, true);
        if known {
            self.handle_end(true, services, application);
        }
    }

    /// Acts on whichever deadline has passed.
    pub fn handle_deadline(&mut self, services: &mut Services, application: &mut impl Application) {
        if !services.now.reached(self.next_deadline(services)) {
            return;
        }
        let standstill = self.standstill_deadline(services);
        if standstill.is_some_and(|deadline| services.now.reached(deadline)) {
            return self.handle_standstill(services, application);
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
        if u32::from(self.pings_missed) >= limits.ping_misses_max {
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
