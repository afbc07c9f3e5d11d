//! A server that does no WebSocket work, over io_uring: what the kernel costs at least with
//! multishot accept, multishot receive and a ring of provided buffers.
//!
//! It parses no frame and unmasks nothing; see [`ringsock_bench::ledger`]. Each thread has one ring
//! and makes one system call a turn: it submits the turn's operations and waits for the next
//! completions. With `--fan-out`, what anybody sends is owed to everybody, gathered per turn.

#![expect(unsafe_code, reason = "operations and buffers are handed to the kernel by address")]

mod buffers;
mod neighbours;
mod server;

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;

use clap::{Parser, ValueEnum};
use ringsock_bench::listener::{allow_many_descriptors, announce, bind, pin};
use ringsock_bench::options::Common;

use crate::neighbours::Meeting;
use crate::server::Server;

#[derive(Parser)]
#[command(about = "Answers byte counts over io_uring: the kernel's limit, without WebSocket work")]
struct Options {
    #[command(flatten)]
    common: Common,
    /// Size of one provided buffer
    #[arg(long, default_value_t = 16_384)]
    buffer_bytes: usize,
    /// Provided buffers, a power of two
    #[arg(long, default_value_t = 256)]
    buffers: u16,
    /// Bytes from one buffer to the next beyond their size; 64 keeps the beginnings of buffers,
    /// all that small messages touch, from sharing the same few places in the cache
    #[arg(long, default_value_t = 64)]
    buffer_gap_bytes: usize,
    /// How the kernel is told which socket is meant
    #[arg(long, value_enum, default_value_t = Descriptors::Direct)]
    descriptors: Descriptors,
    /// Accept connections only when their first bytes are there (TCP_DEFER_ACCEPT)
    #[arg(long)]
    defer_accept: bool,
    /// Answer each request on every connection, as a topic with all of them as subscribers does
    #[arg(long)]
    fan_out: bool,
    /// Cores that get a thread with a ring of its own, beside --core
    #[arg(long, value_delimiter = ',', value_name = "LIST")]
    further_cores: Vec<usize>,
}

/// The two ways to name a socket in an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Descriptors {
    /// An ordinary descriptor of the process
    Plain,
    /// An index into the ring's own table
    Direct,
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    let descriptors_max = allow_many_descriptors()?;
    let shared = !options.further_cores.is_empty();
    let listener = bind(options.common.listen, shared)?;
    let address = listener.local_addr()?;
    let meeting = Meeting::of(1 + options.further_cores.len());
    std::thread::scope(|scope| {
        for &core in &options.further_cores {
            let (options, meeting) = (&options, &meeting);
            scope.spawn(move || {
                let serve = || {
                    let listener = bind(address, shared)?;
                    serve(&listener, options, core, descriptors_max, meeting, || Ok(()))
                };
                // The others would wait for this one, or serve a part of the connections.
                let Err(error) = serve();
                eprintln!("raw-ring: core {core}: {error}");
                std::process::exit(1);
            });
        }
        let welcome = || announce(&listener);
        let core = options.common.core;
        let Err(error) = serve(&listener, &options, core, descriptors_max, &meeting, welcome);
        eprintln!("raw-ring: {error}");
        std::process::exit(1);
    })
}

/// One thread's share. Connections are welcome once all threads have set up their rings.
fn serve(
    listener: &TcpListener,
    options: &Options,
    core: usize,
    descriptors_max: u64,
    meeting: &Meeting,
    welcome: impl FnOnce() -> io::Result<()>,
) -> io::Result<Infallible> {
    pin(core)?;
    let server = Server::new(listener, options, descriptors_max)?;
    let neighbours = meeting.join(server.ring())?;
    welcome()?;
    server.run(&neighbours)
}
