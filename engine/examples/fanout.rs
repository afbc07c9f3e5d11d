//! Every connection is subscribed to one topic, and every message is published to it, its sender
//! included. It exists for measuring:
//! `cargo run --release --example fanout -- --listen 127.0.0.1:9001 --cores 0`.

use clap::Parser;
use ringsock::{Conn, Cores, Driver, Handler, Message, Server};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Publishes every message to every connection.
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
}

struct Fanout;

const TOPIC: &str = "all";

impl Handler for Fanout {
    type State = ();

    fn on_open(&mut self, conn: &mut Conn<'_, ()>) {
        conn.subscribe(TOPIC);
    }

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        conn.publish(TOPIC, message);
    }
}

fn main() -> ringsock::Result<()> {
    let arguments = Arguments::parse();
    Server::builder()
        .cores(arguments.cores)
        .driver(arguments.driver)
        .listen(&arguments.listen)?
        .serve(|_shard| Fanout)
}
