//! Receiving that pauses and goes on: because the peer does not read, or because the application
//! asked. It does not touch the socket; the driver asks [`Connection::is_held`] before it receives.
//!
//! What has been received already when the application pauses is kept and looked at when it
//! resumes, before anything new. While receiving is paused, silence is not held against the peer:
//! Pings go out, but misses are not counted, and the clock of a message under way starts again.

use super::time::Since;
use super::{Application, Connection, Holds, Millis, Phase, Services};

impl Connection {
    /// Delivers nothing more to the application until it resumes, and lets the driver stop
    /// receiving. Without effect unless the connection is open.
    pub fn pause_receiving(&mut self, services: &mut Services) {
        if self.phase == Phase::Open && !self.holds.any(Holds::ASKED) {
            self.holds.set(Holds::ASKED, true);
            services.counters.receive_pauses_asked += 1;
        }
    }

    /// Ends the pause. What was kept is delivered once the present callback has returned.
    pub fn resume_receiving(&mut self, services: &Services) {
        if self.holds.any(Holds::ASKED) {
            self.holds.set(Holds::ASKED, false);
            self.receiving_again(services.now);
        }
    }

    /// Whether the application has paused receiving.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.holds.any(Holds::ASKED)
    }

    /// Whether the driver should not receive now.
    #[inline]
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.holds.any(Holds::BACKLOG | Holds::ASKED | Holds::STASHED | Holds::FINISHED)
            && self.phase == Phase::Open
    }

    /// The clocks that ran while nothing was received start again.
    pub(super) fn receiving_again(&mut self, now: Millis) {
        self.last_received = now;
        self.pings_missed = 0;
        if self.assembly_since.get().is_some() {
            self.assembly_since = Since::at(now);
        }
    }

    /// Whether something kept is to be looked at now.
    #[inline]
    #[must_use]
    pub fn wants_replay(&self) -> bool {
        self.holds.any(Holds::STASHED | Holds::FINISHED) && !self.holds.any(Holds::ASKED)
    }

    /// Looks at what was kept, until it is used up or the application pauses again.
    pub fn replay(&mut self, services: &mut Services, application: &mut impl Application) {
        while self.wants_replay() {
            if self.holds.any(Holds::STASHED) {
                self.replay_stash(services, application);
            } else {
                self.holds.set(Holds::FINISHED, false);
                self.handle_end(false, services, application);
            }
        }
    }

    fn replay_stash(&mut self, services: &mut Services, application: &mut impl Application) {
        let rare = self.rare_mut();
        let mut stash = std::mem::take(&mut rare.stash);
        let used = std::mem::take(&mut rare.stash_used);
        self.holds.set(Holds::STASHED, false);
        let mut input = &mut stash[used..];
        self.receive_frames(&mut input, services, application);
        let left = input.len();
        if left > 0 && self.holds.any(Holds::ASKED) {
            let used = stash.len() - left;
            let rare = self.rare_mut();
            (rare.stash, rare.stash_used) = (stash, used);
            self.holds.set(Holds::STASHED, true);
        } else {
            services.pool.give(stash);
        }
        self.note_held(services);
    }

    /// Keeps received bytes for later. How many there can be is bounded by what the driver has
    /// already received when it learns of the pause.
    pub(super) fn stash(&mut self, bytes: &[u8], services: &mut Services) {
        if bytes.is_empty() {
            return;
        }
        let rare = self.rare_mut();
        if rare.stash.capacity() == 0 {
            rare.stash = services.pool.take(bytes.len());
        }
        rare.stash.extend_from_slice(bytes);
        self.holds.set(Holds::STASHED, true);
        self.note_held(services);
    }

    /// Whether the end of what the peer sends must wait until all before it has been looked at.
    pub(super) fn puts_off_end(&mut self) -> bool {
        let put_off = self.phase == Phase::Open && self.holds.any(Holds::ASKED | Holds::STASHED);
        if put_off {
            self.holds.set(Holds::FINISHED, true);
        }
        put_off
    }

    /// Counts the memory of what is received and not yet delivered against the shard's budget, in
    /// whole KiB, which is near enough and takes four bytes of each connection.
    pub(super) fn note_held(&mut self, services: &mut Services) {
        let stash = self.rare.as_ref().map_or(0, |rare| rare.stash.capacity());
        let kib = (self.decoder.held_bytes() + stash).div_ceil(1024);
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        let before = std::mem::replace(&mut self.assembly_kib, kib);
        services.pool.budget.hold(kib as usize * 1024);
        services.pool.budget.release(before as usize * 1024);
    }
}
