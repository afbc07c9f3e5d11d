//! What the tokio servers share: one thread, one listener, a task for each connection, mimalloc.
//!
//! Nothing of WebSocket is here; that is what differs between them.

use std::error::Error;
use std::future::Future;

use futures_util::{FutureExt, Sink, SinkExt, Stream, StreamExt};
use tokio::net::{TcpListener, TcpStream};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Ends a connection's task.
pub type Outcome = Result<(), Box<dyn Error>>;

/// Listens on the address that is the only argument and gives each connection a task. The runtime
/// has one thread, so nothing is handed between threads, and no task is preempted for its budget.
pub fn serve<F>(connection: impl Fn(TcpStream) -> F) -> Outcome
where
    F: Future<Output = Outcome> + 'static,
{
    let address = std::env::args().nth(1).ok_or("give the address to listen on")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(address.parse()?)?;
        let listener: TcpListener = socket.listen(4096)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            // Peers may end as they like.
            let task = connection(stream).map(drop);
            tokio::task::spawn_local(tokio::task::unconstrained(task));
        }
    })
}

/// Sends back what `reply` makes of each item, and flushes only when nothing more has arrived: what
/// came together leaves together.
pub async fn echo<W, I, M, E>(mut socket: W, reply: impl Fn(I) -> Option<M>) -> Outcome
where
    W: Stream<Item = Result<I, E>> + Sink<M, Error = E> + Unpin,
    E: Error + 'static,
{
    loop {
        let next = match socket.next().now_or_never() {
            Some(next) => next,
            None => {
                socket.flush().await?;
                socket.next().await
            }
        };
        let Some(item) = next.transpose()? else { return Ok(socket.close().await?) };
        if let Some(message) = reply(item) {
            socket.feed(message).await?;
        }
    }
}
