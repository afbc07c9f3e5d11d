//! The end of a shard in order: which connections close when (in random order, evenly over the
//! window, each behind what was published before), and who is left when there has been time enough.
//! Nothing is sent or awaited here.

use std::time::Duration;

use super::core::{Core, Side};
use crate::connection::{Masks, Millis, Phase};
use crate::handler::{Handler, Token};
use crate::protocol::CloseCode;

/// A drain under way.
#[derive(Debug)]
pub(super) struct Drain {
    /// Whether handshakes that complete are refused.
    pub(super) refuse: bool,
    /// Those not yet closed; the next is the last.
    waiting: Vec<Token>,
    listed: usize,
    /// When the first is due.
    first: Millis,
    /// From then to the end of the window.
    span: Duration,
    end: Millis,
    /// When whoever is left is dropped.
    cut: Millis,
}

impl Drain {
    pub(super) fn new(
        mut tokens: Vec<Token>,
        refuse: bool,
        began: Millis,
        (window, timeout): (Duration, Duration),
        masks: &mut Masks,
    ) -> Self {
        // Neighbours in the slab came together and would come back together.
        for place in (1..tokens.len()).rev() {
            let random = u32::from_ne_bytes(masks.next_mask()) as usize;
            tokens.swap(place, random % (place + 1));
        }
        // A server that ends wants to be gone soon. One that has a successor lets those who are
        // about to leave do so.
        let patience = if refuse { Duration::ZERO } else { window / 4 };
        Self {
            refuse,
            listed: tokens.len(),
            waiting: tokens,
            first: if refuse { began } else { began.after(patience) },
            span: window - patience,
            end: began.after(window),
            cut: began.after(window).after(timeout),
        }
    }

    /// Whether those who are left have had time enough.
    pub(super) fn is_overdue(&self, now: Millis) -> bool {
        now.reached(self.cut)
    }

    /// Whether the window has passed, and with it every connection's time.
    pub(super) fn is_over(&self, now: Millis) -> bool {
        now.reached(self.end)
    }

    /// The next connection whose time has come. They come at even intervals.
    pub(super) fn next(&mut self, now: Millis) -> Option<Token> {
        let passed = self.listed - self.waiting.len();
        let due = match passed {
            0 => self.first,
            _ => self.first.after(self.span.mul_f64(passed as f64 / self.listed as f64)),
        };
        if now.reached(due) { self.waiting.pop() } else { None }
    }
}

impl<H: Handler, D: Side> Core<H, D> {
    pub(super) fn begin_drain(&mut self, refuse: bool) {
        if self.drain.is_some() {
            self.stopped = true;
            return;
        }
        let services = &mut self.services;
        let (now, limits) = (services.now, &services.limits);
        let times = (limits.drain_window, limits.drain_timeout);
        let drain = Drain::new(self.slots.tokens(), refuse, now, times, &mut services.masks);
        self.drain = Some(Box::new(drain));
        self.continue_drain();
    }

    /// Closes the connections whose time has come. A handshake has the whole window.
    pub(super) fn continue_drain(&mut self) {
        let now = self.services.now;
        if self.drain.is_some() {
            // Whoever is sent away gets first what was published before.
            self.collect_published();
            self.deliver();
        }
        let Some(mut drain) = self.drain.take() else { return };
        while let Some(token) = drain.next(now) {
            self.send_away(token);
        }
        if drain.is_over(now) {
            for token in self.slots.tokens() {
                self.send_away(token);
                self.with(token, |connection, services, glue| {
                    if connection.phase() == Phase::Handshake {
                        connection.handle_end(true, services, glue);
                    }
                });
            }
        }
        if drain.is_overdue(now) {
            self.services.counters.timeouts_drain += self.slots.len() as u64;
            self.end_all();
        }
        self.drain = Some(drain);
    }

    fn send_away(&mut self, token: Token) {
        self.with(token, |connection, services, _| {
            connection.close(CloseCode::GOING_AWAY, "the server is going away", services);
        });
    }

    /// Whether nothing more is to be accepted.
    pub(super) fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    /// Whether the shard has nothing left to do after a drain, or was told to end.
    pub(super) fn is_finished(&self) -> bool {
        self.stopped || (self.is_draining() && self.slots.len() == 0)
    }

    /// Tells the handler that every connection ends; the sockets are the caller's.
    fn end_all(&mut self) {
        for token in self.slots.tokens() {
            self.with(token, |connection, services, glue| {
                connection.handle_end(true, services, glue);
            });
        }
    }

    /// The shard's end: of every connection, and of its part in topics. What the handler publishes
    /// when it is told still reaches the other shards.
    pub(super) fn end(&mut self) {
        self.end_all();
        self.hub.borrow_mut().end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(count: u32) -> Vec<Token> {
        (0..count).map(|slot| Token { slot, generation: 1 }).collect()
    }

    fn new(tokens: Vec<Token>, refuse: bool, began: u32, window: Duration) -> Drain {
        let times = (window, Duration::from_secs(9));
        Drain::new(tokens, refuse, Millis(began), times, &mut Masks::default())
    }

    #[test]
    fn closes_are_spread_evenly_and_in_random_order() {
        let window = Duration::from_secs(1);
        let mut drain = new(tokens(1_000), true, 0, window);
        let mut order = Vec::new();
        for now in (0..=1_000).step_by(100) {
            while let Some(token) = drain.next(Millis(now)) {
                order.push(token.slot);
            }
            let expected = (now as usize).min(1_000);
            assert!(order.len().abs_diff(expected) <= 1, "{} at {now}", order.len());
            assert_eq!(drain.is_over(Millis(now)), now >= 1_000);
        }
        assert!(!order.is_sorted(), "the order is random");
        assert!(!drain.is_overdue(Millis(9_999)) && drain.is_overdue(Millis(10_000)));
        order.sort_unstable();
        assert_eq!(order, (0..1_000).collect::<Vec<_>>(), "each once");
    }

    #[test]
    fn the_first_waits_only_if_there_is_a_successor() {
        let window = Duration::from_secs(60);
        let mut drain = new(tokens(2), false, 7, window);
        assert!(drain.next(Millis(14_000)).is_none());
        assert!(drain.next(Millis(15_010)).is_some());
        assert!(drain.next(Millis(37_000)).is_none());
        assert!(drain.next(Millis(37_600)).is_some());
        let mut drain = new(tokens(2), true, 7, window);
        assert!(drain.next(Millis(7)).is_some());
        assert!(drain.next(Millis(29_000)).is_none());
        assert!(drain.next(Millis(30_010)).is_some());
    }
}
