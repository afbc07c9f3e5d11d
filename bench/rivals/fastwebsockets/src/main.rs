//! Echo on fastwebsockets, whose every frame is a system call of its own: reading cannot be
//! interrupted to see whether more has arrived.

use bytes::Bytes;
use fastwebsockets::{FragmentCollector, OpCode, upgrade};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use stage::{Outcome, Transport};

struct Echo;

impl stage::Server for Echo {
    async fn serve<T: Transport>(stream: T, _deflate: bool) -> Outcome {
        let connection =
            http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(accept));
        Ok(connection.with_upgrades().await?)
    }
}

fn main() -> Outcome {
    stage::run::<Echo>()
}

async fn accept(
    mut request: Request<Incoming>,
) -> Result<Response<Empty<Bytes>>, fastwebsockets::WebSocketError> {
    let (response, socket) = upgrade::upgrade(&mut request)?;
    tokio::task::spawn_local(tokio::task::unconstrained(async move {
        // Peers may end as they like.
        let _ = echo(socket).await;
    }));
    Ok(response)
}

async fn echo(socket: upgrade::UpgradeFut) -> Outcome {
    let mut socket = FragmentCollector::new(socket.await?);
    loop {
        let frame = socket.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => socket.write_frame(frame).await?,
            _ => {}
        }
    }
}
