//! Echo on sockudo-ws, through its message stream.

use bytes::BytesMut;
use sockudo_ws::handshake::{build_response, generate_accept_key, parse_request};
use sockudo_ws::{Config, Message, WebSocketStream};
use stage::Outcome;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn main() -> Outcome {
    stage::serve(async |mut stream| {
        shake_hands(&mut stream).await?;
        let socket = WebSocketStream::server(stream, Config::default());
        stage::echo(socket, |message| {
            matches!(message, Message::Text(_) | Message::Binary(_)).then_some(message)
        })
        .await
    })
}

async fn shake_hands(stream: &mut TcpStream) -> Outcome {
    let mut head = BytesMut::with_capacity(1024);
    loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Err("the peer left during the handshake".into());
        }
        if let Some((request, _)) = parse_request(&head)? {
            let response = build_response(&generate_accept_key(request.key), None, None);
            return Ok(stream.write_all(&response).await?);
        }
    }
}
