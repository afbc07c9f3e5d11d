//! A server that does no WebSocket work, over io_uring: what the kernel costs at least with
//! multishot accept, multishot receive and a ring of provided buffers.
//!
//! It parses no frame and unmasks nothing; see [`ringsock_bench::ledger`]. One thread, one ring,
//! one system call a turn: it submits the turn's operations and waits for the next completions.

#![expect(unsafe_code, reason = "operations and buffers are handed to the kernel by address")]

mod buffers;
mod server;

use std::io;

use clap::{Parser, ValueEnum};
use ringsock_bench::listener::{allow_many_descriptors, announce, bind, pin};
use ringsock_bench::options::Common;

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
    pin(options.common.core)?;
    let listener = bind(options.common.listen)?;
    let server = server::Server::new(&listener, &options, descriptors_max)?;
    announce(&listener)?;
    server.run()
}
