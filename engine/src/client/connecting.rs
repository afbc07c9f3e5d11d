//! The steps from an address to an open connection: resolve, connect, tunnel, shake hands. One
//! deadline holds for all of them.

use std::io;

use super::Client;
use super::error::ClientError;
use super::race::connect_first;
use super::resolve::resolve;
use super::socket::ClientSocket;
use super::stream::Stream;
use super::trust::system_trust;
use super::tunnel::{Proxy, read_answer};
use crate::buffer::{Batch, Pool, Segment};
use crate::connection::ClientHandshake;
use crate::protocol::handshake::{ClientRequest, WebSocketUrl, without_secrets};
use crate::tls::TlsError;

/// Connects and shakes hands.
pub(super) async fn connect(client: Client) -> Result<ClientSocket, ClientError> {
    client.limits.validate().map_err(ClientError::BadLimits)?;
    let url = WebSocketUrl::parse(&client.url).map_err(ClientError::BadUrl)?;
    let mut handshake = handshake(&client, &url).map_err(ClientError::BadRequest)?;
    let proxy = client.proxy.as_deref().map(Proxy::parse).transpose();
    let proxy = proxy.map_err(|detail| ClientError::BadProxy { detail })?;
    let after = client.limits.handshake_timeout;
    let shown = without_secrets(&url.to_string());
    let steps = async {
        if url.secure {
            let secured = secure(&client, handshake, &url.host).await;
            handshake = secured.map_err(ClientError::Tls)?;
        }
        let stream = open(&client, &url, proxy.as_ref()).await?;
        ClientSocket::open(stream, handshake, client.limits.clone(), shown.clone()).await
    };
    match monoio::time::timeout(after, steps).await {
        Ok(outcome) => outcome,
        Err(_) => Err(ClientError::TimedOut { url: shown, after }),
    }
}

fn handshake(
    client: &Client,
    url: &WebSocketUrl,
) -> Result<ClientHandshake, crate::protocol::handshake::HandshakeError> {
    let mut request = ClientRequest::new(url)?;
    request.subprotocols.clone_from(&client.subprotocols);
    request.headers.clone_from(&client.headers);
    request.deflate = client.deflate;
    ClientHandshake::new(request)
}

/// The same handshake behind TLS.
async fn secure(
    client: &Client,
    handshake: ClientHandshake,
    host: &str,
) -> Result<ClientHandshake, TlsError> {
    let tls = match &client.tls {
        Some(tls) => tls.clone(),
        None => system_trust().await?,
    };
    handshake.over_tls(&tls, host)
}

/// A byte stream to the server, through the proxy if there is one.
async fn open(
    client: &Client,
    url: &WebSocketUrl,
    proxy: Option<&Proxy>,
) -> Result<Stream, ClientError> {
    let (host, port) = proxy.map_or((&url.host, url.port), |proxy| (&proxy.host, proxy.port));
    let resolved = resolve(host, port).await;
    let failed = |source| ClientError::Resolve { host: host.clone(), source };
    let addresses = resolved.map_err(failed)?;
    let connected = connect_first(&addresses, client.source).await;
    let (mut stream, address) = connected.map_err(|(tried, source)| ClientError::Connect {
        address: tried.unwrap_or(addresses[0]),
        source,
    })?;
    if let Some(proxy) = proxy {
        let head_bytes_max = client.limits.head_bytes_max;
        let opened = tunnel(&mut stream, proxy.request(url), head_bytes_max).await;
        opened.map_err(|detail| ClientError::Proxy { address, detail })?;
    }
    Ok(stream)
}

/// Asks for a tunnel and waits for the answer.
async fn tunnel(
    stream: &mut Stream,
    request: Vec<u8>,
    head_bytes_max: usize,
) -> Result<(), String> {
    const FOREVER: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
    let mut pool = Pool::new();
    stream.begin(Batch::One(Segment::Owned { bytes: request, start: 0 }));
    let mut head = Vec::new();
    loop {
        would_block(stream.send(&mut pool))?;
        // One byte more than a head may have is enough to refuse it.
        let held = head.len();
        head.resize(head_bytes_max + 1, 0);
        let received = would_block(stream.receive(&mut head[held..]))?;
        head.truncate(held + received.unwrap_or_default());
        match received {
            Some(0) => return Err("it closed the connection".to_owned()),
            Some(_) => match read_answer(&head, head_bytes_max)? {
                Some(size) if size == head.len() => return Ok(()),
                Some(_) => return Err("bytes follow its answer that nobody asked for".to_owned()),
                None => {}
            },
            None => stream.ready(true, FOREVER).await.map_err(|error| error.to_string())?,
        }
    }
}

/// `None` for what would have to wait.
fn would_block(outcome: io::Result<usize>) -> Result<Option<usize>, String> {
    match outcome {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}
