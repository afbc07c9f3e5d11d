//! Shards on a simulated kernel, one after another on one thread: the loop of the data ring with all
//! below it, against peers that do what they like and a kernel that does what it may. Everything
//! follows from a seed, which a failure names: `RINGSOCK_SEED=7 cargo test simulation` runs that one
//! alone, `RINGSOCK_SEEDS=10000` more than usual.

mod echo;
mod peer;
mod room;

use std::cell::RefCell;
use std::os::fd::{AsRawFd, RawFd};
use std::panic::{self, AssertUnwindSafe};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::core::{Core, CoreConfig};
use super::ring_loop::RingLoop;
use crate::connection::Millis;
use crate::driver::ring::RingConfig;
use crate::driver::ring::simulated::{Odds, SimulatedQueues, World};
use crate::handler::{Command, CommandBounds, Handler, LocalShard, Mailbox, Site};
use crate::limits::Limits;
use crate::metrics::Counters;
use crate::pubsub::{Bell, Exchange, Hub, Rules};
use peer::Peer;

/// Turns after which a simulation is stuck.
const STEPS_MAX: u32 = 400_000;
const LONG: Duration = Duration::from_secs(24 * 3600);
/// The longest time between two turns.
const STEP_MILLIS_MAX: usize = 20;

/// Shards and the world around them.
struct Simulation<H: Handler> {
    world: Rc<RefCell<World>>,
    shards: Vec<RingLoop<H, SimulatedQueues>>,
    listeners: Vec<RawFd>,
    mailboxes: Vec<Arc<Mailbox>>,
}

impl<H: Handler> Simulation<H> {
    fn new(seed: u64, odds: Odds, shards: usize, handler: impl Fn(usize) -> H) -> Self {
        let world = World::new(seed, odds);
        // Peers take long for everything, and none of them is to be sent away for that.
        let limits = Limits {
            handshake_timeout: LONG,
            assembly_timeout: LONG,
            drain_window: Duration::from_millis(50),
            ..Limits::default()
        };
        let mailbox = |_| Arc::new(Mailbox::new(CommandBounds::of(&limits)).expect("a descriptor"));
        let mailboxes: Vec<Arc<Mailbox>> = (0..shards).map(mailbox).collect();
        let bells = mailboxes.iter().map(|mailbox| Arc::clone(mailbox) as Arc<dyn Bell>);
        let exchange = Arc::new(Exchange::new(bells, Rules::default(), &limits));
        let mut simulation =
            Self { world, shards: Vec::new(), listeners: Vec::new(), mailboxes: Vec::new() };
        for (shard, mailbox) in mailboxes.iter().enumerate() {
            let local =
                LocalShard::new(Arc::clone(mailbox), Hub::new(Arc::clone(&exchange), shard));
            local.enter();
            let config = CoreConfig {
                limits: limits.clone(),
                site: Arc::new(Site::default()),
                server_name: None,
                deflate: None,
                tls: None,
                exchange: Arc::clone(&exchange),
                addresses: Arc::default(),
                started: Instant::now(),
                shard,
                shards,
            };
            let (ring, sizes) = simulation.sizes();
            let queues = SimulatedQueues::new(&simulation.world, sizes.0, sizes.1);
            let listener = simulation.world.borrow_mut().listen();
            simulation.listeners.push(listener.as_raw_fd());
            let core = Core::new(handler(shard), config, local);
            let mut shard = RingLoop::new(core, queues, &ring, vec![listener]).expect("a ring");
            shard.begin_without_clock();
            simulation.shards.push(shard);
        }
        simulation.mailboxes = mailboxes;
        simulation
    }

    /// A ring of any size, small ones above all, and the lengths of its queues.
    fn sizes(&self) -> (RingConfig, (usize, usize)) {
        let dice = &mut self.world.borrow_mut().dice;
        let config = RingConfig {
            receive_buffers: [4, 8, 32, 256][dice.below(4)],
            receive_buffer_bytes: [64, 256, 4096, 16 * 1024 + 128][dice.below(4)],
            registered_files: [1, 8, 1000][dice.below(3)],
            multishot: dice.below(4) > 0,
            ..RingConfig::default()
        };
        (config, ([2, 8, 256][dice.below(3)], [4, 16, 1024][dice.below(3)]))
    }

    /// A peer that connects to one of the shards.
    fn connect(&self, peer: impl FnOnce(u64) -> Peer) -> Peer {
        let mut world = self.world.borrow_mut();
        let listener = self.listeners[world.dice.below(self.listeners.len())];
        let window = world.dice.below(100_000);
        peer(world.connect(listener, window))
    }

    /// Lets every peer act, and every shard once.
    fn step(&mut self, peers: &mut [Peer]) -> bool {
        let (now, first) = {
            let mut world = self.world.borrow_mut();
            world.now += world.dice.below(STEP_MILLIS_MAX + 1) as u32;
            (Millis(world.now), world.dice.below(self.shards.len()))
        };
        peers.iter_mut().for_each(|peer| peer.act(&mut self.world.borrow_mut()));
        let count = self.shards.len();
        let mut running = 0;
        for shard in 0..count {
            let shard = &mut self.shards[(first + shard) % count];
            running += usize::from(shard.step(now).expect("the ring works"));
        }
        running > 0
    }

    /// Goes on until all of these peers have come to their end.
    fn run(&mut self, peers: &mut [Peer]) {
        for _ in 0..STEPS_MAX {
            if peers.iter().all(Peer::has_ended) {
                return;
            }
            self.step(peers);
        }
        let stuck: Vec<_> = peers.iter().filter(|peer| !peer.has_ended()).collect();
        panic!("stuck: {stuck:#?}\n{:?}", self.counters());
    }

    /// Ends the shards in order; nothing may be left behind.
    fn end(mut self) -> Counters {
        for mailbox in &self.mailboxes {
            mailbox.push(Command::Drain { refuse: true }).expect("it takes orders");
        }
        for _ in 0..STEPS_MAX {
            if !self.step(&mut []) {
                assert!(self.shards.iter().all(RingLoop::is_at_rest), "something is left behind");
                return self.counters();
            }
        }
        panic!("the drain is stuck: {:?}", self.counters());
    }

    fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.shards.iter().for_each(|shard| sum.add(shard.counters()));
        sum
    }
}

/// Runs a simulation for many seeds, or the one that is asked for.
fn for_seeds(usual: u64, simulate: impl Fn(u64)) {
    let asked = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    let seeds = match asked("RINGSOCK_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..asked("RINGSOCK_SEEDS").unwrap_or(usual),
    };
    for seed in seeds {
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| simulate(seed)));
        LocalShard::leave();
        if let Err(cause) = outcome {
            eprintln!("the simulation failed: RINGSOCK_SEED={seed}");
            panic::resume_unwind(cause);
        }
    }
}
