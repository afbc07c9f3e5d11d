//! Applies the latency settings to listening sockets and to the ring. What they mean is said where
//! they are defined; a setting this system refuses is reported and left out, because a server without
//! it serves all the same.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use socket2::SockRef;

use super::choice::DriverInUse;
use crate::driver::ring::{self, RingConfig};
use crate::latency::Latency;

/// Sets one option of a socket.
type SetOption = fn(BorrowedFd<'_>, u32) -> io::Result<()>;

/// Sets what concerns sockets; accepted ones inherit it.
pub(super) fn tune_listeners(latency: &Latency, listeners: &[Vec<OwnedFd>]) {
    let micros = u32::try_from(latency.busy_poll.as_micros()).unwrap_or(u32::MAX);
    let seconds = u32::try_from(latency.defer_accept.as_secs()).unwrap_or(u32::MAX);
    let settings: [(&str, u32, SetOption); 4] = [
        ("busy_poll", micros, ring::busy_poll),
        ("defer_accept", seconds, ring::defer_accept),
        ("fast_open_pending_max", latency.fast_open_pending_max, ring::fast_open),
        ("tcp_notsent_lowat_bytes", latency.tcp_notsent_lowat_bytes, |listener, bytes| {
            SockRef::from(&listener).set_tcp_notsent_lowat(bytes)
        }),
    ];
    for (name, value, set) in settings.into_iter().filter(|(_, value, _)| *value > 0) {
        let refused = listeners.iter().flatten().find_map(|fd| set(fd.as_fd(), value).err());
        if let Some(error) = refused {
            tracing::warn!(%error, "the latency setting {name} is refused here; left out");
        }
    }
}

/// Whether the kernel must not add what is sent to what it has already: it would do so up to 64 KiB
/// without looking at how much may lie unsent.
pub(super) fn ends_records(latency: &Latency) -> bool {
    latency.tcp_notsent_lowat_bytes > 0
}

/// Sets what concerns the ring.
pub(super) fn tune_ring(latency: &Latency, driver: DriverInUse, config: &mut RingConfig) {
    config.spin = latency.spin;
    config.busy_poll = latency.busy_poll;
    config.submission_poll = latency.submission_poll;
    config.ends_records = ends_records(latency);
    let wanted = latency.spin.max(latency.submission_poll) > Duration::ZERO;
    if wanted && driver == DriverInUse::Epoll {
        tracing::warn!("the latency settings spin and submission_poll do nothing with epoll");
    }
}
