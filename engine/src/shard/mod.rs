//! One core's share of a server: its connections, timers and mailbox, on a pinned thread that runs
//! a monoio runtime. Shards share nothing but mailboxes and two tables. Which protocol rules hold is
//! decided below, who listens where above.
#![forbid(unsafe_code)]

mod admitting;
mod core;
mod drain;
mod epoll_loop;
mod glue;
mod memory;
#[cfg(test)]
mod memory_tests;
mod report;
mod ring_loop;
#[cfg(test)]
mod simulation;
mod slab;
mod subscribers;
mod wheel;

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use monoio::{LegacyDriver, RuntimeBuilder};

use self::core::Core;
use crate::driver::ring::{KernelQueues, RingConfig};
use crate::handler::{Handler, LocalShard, Mailbox};
use crate::pubsub::Hub;

pub(crate) use self::core::CoreConfig;
pub(crate) use self::epoll_loop::EpollConfig;
pub use self::memory::{MemoryConnection, MemoryServer};

/// How long the end of a shard waits for the handler's tasks.
const TASKS_END_MAX: Duration = Duration::from_secs(1);

/// How a shard moves its bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ShardDriver {
    /// The data ring.
    Ring(RingConfig),
    /// The runtime's epoll.
    Epoll(EpollConfig),
}

/// Runs a shard on this thread until it is told to end. `ready` is called once it serves.
pub(crate) fn run<H: Handler>(
    handler: impl FnOnce() -> H,
    config: CoreConfig,
    driver: ShardDriver,
    listeners: Vec<OwnedFd>,
    mailbox: Arc<Mailbox>,
    ready: impl FnOnce(),
) -> io::Result<()> {
    // The runtime is the portable one with either driver: a second io_uring on the thread would
    // add nothing but its own hazards, and everything hot is on the data ring already.
    let mut runtime = RuntimeBuilder::<LegacyDriver>::new().enable_timer().build()?;
    let local = LocalShard::new(mailbox, Hub::new(Arc::clone(&config.exchange), config.shard));
    local.enter();
    let outcome = runtime.block_on(async {
        let (handler, own) = (handler(), Rc::clone(&local));
        let outcome = match driver {
            ShardDriver::Ring(ring) => {
                let core = Core::new(handler, config, own);
                let queues = KernelQueues::new(&ring)?;
                ring_loop::RingLoop::new(core, queues, &ring, listeners)?.run(ready).await
            }
            ShardDriver::Epoll(epoll) => {
                let core = Core::new(handler, config, own);
                epoll_loop::EpollLoop::new(core, listeners, epoll).run(ready).await
            }
        };
        end_tasks(&local).await;
        outcome
    });
    LocalShard::leave();
    outcome
}

/// Ends what the handler has spawned while the runtime still runs it.
async fn end_tasks(local: &LocalShard) {
    local.end_tasks();
    let deadline = Instant::now() + TASKS_END_MAX;
    while local.has_tasks() && Instant::now() < deadline {
        monoio::time::sleep(Duration::from_millis(1)).await;
    }
}
