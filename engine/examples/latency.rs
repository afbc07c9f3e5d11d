//! An echo server with the latency settings as flags. It exists for measuring what each of them
//! gives and takes: `cargo run --release --example latency -- --cores 0 --spin-us 50`.

use std::time::Duration;

use clap::Parser;
use ringsock::server::Latency;
use ringsock::{Conn, Cores, Driver, Handler, Message, Server};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Sends every message back.
#[derive(Parser)]
struct Arguments {
    /// Where to listen, HOST:PORT.
    #[arg(long, default_value = "127.0.0.1:9001")]
    listen: String,
    /// The cores that get a shard each: all, 0,1 or 0-3.
    #[arg(long, default_value = "all")]
    cores: Cores,
    /// auto, ring or epoll.
    #[arg(long, default_value = "auto")]
    driver: Driver,
    /// Look for work this many microseconds before sleeping.
    #[arg(long, default_value_t = 0)]
    spin_us: u64,
    /// Have the kernel poll the network card this many microseconds before sleeping.
    #[arg(long, default_value_t = 0)]
    busy_poll_us: u64,
    /// Have a kernel thread take submissions, which sleeps after this many idle milliseconds.
    #[arg(long, default_value_t = 0)]
    submission_poll_ms: u64,
    /// Accept a connection once its first bytes are there, within this many seconds.
    #[arg(long, default_value_t = 0)]
    defer_accept_s: u64,
    /// Let this many unfinished connections bring data with their first packet.
    #[arg(long, default_value_t = 0)]
    fast_open: u32,
    /// Let the kernel have this many bytes of a connection unsent.
    #[arg(long, default_value_t = 0)]
    notsent_lowat_bytes: u32,
}

struct Echo;

impl Handler for Echo {
    type State = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        conn.send(message);
    }
}

fn main() -> ringsock::Result<()> {
    let arguments = Arguments::parse();
    let latency = Latency {
        spin: Duration::from_micros(arguments.spin_us),
        busy_poll: Duration::from_micros(arguments.busy_poll_us),
        submission_poll: Duration::from_millis(arguments.submission_poll_ms),
        defer_accept: Duration::from_secs(arguments.defer_accept_s),
        fast_open_pending_max: arguments.fast_open,
        tcp_notsent_lowat_bytes: arguments.notsent_lowat_bytes,
    };
    Server::builder()
        .cores(arguments.cores)
        .driver(arguments.driver)
        .latency(latency)
        .listen(&arguments.listen)?
        .serve(|_shard| Echo)
}
