//! Echo: every message goes back as it came. It keeps nothing, interprets nothing, and is what the
//! benchmarks and conformance tests talk to.
//!
//! ```no_run
//! fn main() -> ringsock::Result<()> {
//!     ringsock_echo::configure(ringsock::Server::builder())
//!         .listen("127.0.0.1:9001")?
//!         .serve(|_shard| ringsock_echo::Echo)
//! }
//! ```
#![forbid(unsafe_code)]

use ringsock::http::Page;
use ringsock::{Conn, Handler, Limits, MIB, Message, ServerBuilder};

/// The handler.
#[derive(Clone, Copy, Debug)]
pub struct Echo;

impl Handler for Echo {
    type State = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        // When it cannot be queued, the connection is ending already.
        let _ = conn.send(message);
    }
}

/// The limits and the page of an echo server: messages of up to 64 MiB, and `/` shows a page that
/// measures the connection it was loaded over.
pub fn configure(server: ServerBuilder) -> ServerBuilder {
    server.limits(limits()).page("/", page())
}

/// The limits of an echo server: messages of up to 64 MiB, and memory for a few of them on each
/// core at once.
#[must_use]
pub fn limits() -> Limits {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let defaults = Limits::default();
    Limits {
        message_bytes_max: 64 * MIB,
        send_queue_bytes_max: 128 * MIB,
        receive_pause_bytes: 4 * MIB,
        memory_bytes_max: defaults.memory_bytes_max.max(cores * 512 * MIB),
        ..defaults
    }
}

/// A page that measures the connection it was loaded over, at whatever path.
#[must_use]
pub fn page() -> Page {
    Page::html(include_str!("page.html"))
}
