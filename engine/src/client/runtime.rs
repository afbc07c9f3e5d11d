//! A runtime for programs that are only clients. Shards bring their own.

use std::io;

use monoio::{LegacyDriver, RuntimeBuilder};

/// Runs a future on this thread to its end, for programs that use [`Client`](super::Client) without a
/// server. Tasks of a shard need it not.
///
/// # Panics
/// Inside a shard's thread or another `block_on`, and when the system has no descriptor left for
/// an epoll.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let runtime: io::Result<_> = RuntimeBuilder::<LegacyDriver>::new().enable_timer().build();
    runtime.expect("a descriptor for the runtime's epoll").block_on(future)
}
