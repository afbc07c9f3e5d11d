//! What the Rust servers share: mimalloc and TLS for all of them; for those on tokio one thread, one
//! listener, a task for each connection.
//!
//! Nothing of WebSocket is here; that is what differs between them.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;

use futures_util::{FutureExt, Sink, SinkExt, Stream, StreamExt};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket};
use tokio_rustls::TlsAcceptor;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Ends a connection's task.
pub type Outcome = Result<(), Box<dyn Error>>;

/// What connections come over: TCP, or TLS over it.
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Transport for T {}

/// A server of one library.
pub trait Server {
    /// Serves a connection to its end. With `deflate` it compresses, if it can.
    fn serve<T: Transport>(stream: T, deflate: bool) -> impl Future<Output = Outcome> + 'static;
}

/// Listens on the address that is the first argument and gives each connection a task; "deflate" is
/// the second, or there is none. The runtime has one thread, so nothing is handed between threads,
/// and no task is preempted for its budget.
pub fn run<S: Server + 'static>() -> Outcome {
    let address = std::env::args().nth(1).ok_or("give the address to listen on")?;
    let deflate = std::env::args().nth(2).is_some_and(|word| word == "deflate");
    let acceptor = tls_config()?.map(|config| TlsAcceptor::from(Arc::new(config)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let listener = listen(&address)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            match acceptor.clone() {
                None => spawn(S::serve(stream, deflate)),
                Some(acceptor) => {
                    spawn(async move { S::serve(acceptor.accept(stream).await?, deflate).await });
                }
            }
        }
    })
}

fn listen(address: &str) -> Result<TcpListener, Box<dyn Error>> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address.parse()?)?;
    Ok(socket.listen(4096)?)
}

fn spawn(connection: impl Future<Output = Outcome> + 'static) {
    // Peers may end as they like.
    tokio::task::spawn_local(tokio::task::unconstrained(connection.map(drop)));
}

/// TLS with the certificate and the key in the files that `TLS_CERT` and `TLS_KEY` name, if they do.
pub fn tls_config() -> Result<Option<ServerConfig>, Box<dyn Error>> {
    let (Ok(certificate), Ok(key)) = (std::env::var("TLS_CERT"), std::env::var("TLS_KEY")) else {
        return Ok(None);
    };
    let chain = CertificateDer::pem_file_iter(certificate)?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    Ok(Some(config))
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
