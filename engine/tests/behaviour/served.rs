//! Starts servers in this process for the length of a test, with each driver in turn. What they do
//! with their connections is the handlers' business.

use std::net::SocketAddr;
use std::panic;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::thread;
use std::time::Duration;

use ringsock::server::ShardInfo;
use ringsock::{
    Conn, Controller, Cores, Driver, Handler, Limits, Message, Result, Running, Server,
    ServerBuilder,
};

/// Longest time a test may take with one driver, on a machine that does other things as well.
const TEST_TIME_MAX: Duration = Duration::from_secs(60);
/// Longest time a server may take to end.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);

/// Held by one test alone or by any number of those that count nothing.
static PROCESS: RwLock<()> = RwLock::new(());

/// The drivers that work here: where io_uring is forbidden, epoll alone is what there is to test.
pub(crate) fn drivers() -> Vec<Driver> {
    match ringsock::server::probe_ring() {
        Ok(()) => vec![Driver::Ring, Driver::Epoll],
        Err(error) => {
            eprintln!("tested with epoll only: {error}");
            vec![Driver::Epoll]
        }
    }
}

/// Held by a test that opens something and counts nothing. Those below hold it themselves.
pub(crate) fn among_others() -> RwLockReadGuard<'static, ()> {
    PROCESS.read().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a test with each driver, beside other tests.
pub(crate) fn for_each_driver(test: fn(Driver)) {
    let _shared = among_others();
    drivers().into_iter().for_each(|driver| run(driver, test));
}

/// Runs a test with each driver while no other test runs.
pub(crate) fn alone_for_each_driver(test: fn(Driver)) {
    let _alone = PROCESS.write().unwrap_or_else(PoisonError::into_inner);
    drivers().into_iter().for_each(|driver| run(driver, test));
}

/// Runs a test on a thread of its own, so that one that hangs fails instead.
fn run(driver: Driver, test: fn(Driver)) {
    let (done, ended) = mpsc::channel();
    let work = move || {
        test(driver);
        // Nobody listens any more when the time is over.
        let _ = done.send(());
    };
    let name = format!("test-{driver:?}");
    let thread = thread::Builder::new().name(name).spawn(work).expect("a thread for the test");
    match ended.recv_timeout(TEST_TIME_MAX) {
        Ok(()) => thread.join().expect("the test has ended"),
        Err(RecvTimeoutError::Timeout) => panic!("driver {driver:?}: no end within a minute"),
        Err(RecvTimeoutError::Disconnected) => {
            eprintln!("the test failed with driver {driver:?}");
            let Err(cause) = thread.join() else { unreachable!("a thread that ends well says so") };
            panic::resume_unwind(cause);
        }
    }
}

/// Sends every message back.
pub(crate) struct Echo;

impl Handler for Echo {
    type State = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        let _queued = conn.send(message);
    }
}

/// A running server, stopped when dropped.
pub(crate) struct Served {
    running: Option<Running>,
    pub(crate) controller: Controller,
    pub(crate) address: SocketAddr,
}

impl Served {
    /// A server of one shard with the default limits.
    pub(crate) fn start<H, F>(driver: Driver, factory: F) -> Self
    where
        H: Handler,
        F: Fn(ShardInfo) -> H + Send + Sync + 'static,
    {
        Self::configured(driver, |server| server, factory)
    }

    /// A server of one shard, changed by `configure`.
    pub(crate) fn configured<H, F>(
        driver: Driver,
        configure: impl FnOnce(ServerBuilder) -> ServerBuilder,
        factory: F,
    ) -> Self
    where
        H: Handler,
        F: Fn(ShardInfo) -> H + Send + Sync + 'static,
    {
        let limits = Limits { drain_window: Duration::from_millis(200), ..Limits::default() };
        let server = Server::builder().limits(limits);
        let server = server.listen("127.0.0.1:0").expect("a free port");
        let server = configure(server.cores(Cores::List(vec![0])).driver(driver));
        Self::adopt(server.start(factory).expect("the server starts"))
    }

    /// Looks after a server that has been started.
    pub(crate) fn adopt(running: Running) -> Self {
        let address = running.addresses()[0];
        let mut served = Self::adopt_any(running);
        served.address = address;
        served
    }

    /// Looks after a server that may listen nowhere.
    pub(crate) fn adopt_any(running: Running) -> Self {
        let controller = running.controller();
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { running: Some(running), controller, address }
    }

    /// Where its admin address is.
    pub(crate) fn admin_address(&self) -> SocketAddr {
        let running = self.running.as_ref().expect("it runs");
        running.admin_address().expect("it has an admin address")
    }

    /// Waits until the server has ended, which something else must have told it.
    pub(crate) fn join(mut self) -> Result<()> {
        self.running.take().map_or(Ok(()), join)
    }

    /// Ends the server now.
    pub(crate) fn stop(self) {
        self.controller.stop();
        self.join().expect("the server ends without an error");
    }
}

/// Waits for the end of a server, but not for ever.
fn join(running: Running) -> Result<()> {
    let (done, ended) = mpsc::channel();
    thread::spawn(move || {
        let _ = done.send(running.join());
    });
    ended.recv_timeout(STOP_TIME_MAX).expect("the server ends in time")
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            self.controller.stop();
            if !thread::panicking() {
                join(running).expect("the server ends without an error");
            }
        }
    }
}
