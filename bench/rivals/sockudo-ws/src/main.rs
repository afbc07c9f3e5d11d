//! Echo on sockudo-ws, through its message stream.

use bytes::BytesMut;
use sockudo_ws::deflate::negotiate_server_deflate;
use sockudo_ws::handshake::{build_response, generate_accept_key, parse_request};
use sockudo_ws::{CompressedWebSocketStream, Config, DeflateConfig, Message, WebSocketStream};
use stage::{Outcome, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct Echo;

impl stage::Server for Echo {
    async fn serve<T: Transport>(mut stream: T, deflate: bool) -> Outcome {
        let config = Config::default();
        match shake_hands(&mut stream, deflate).await? {
            None => stage::echo(WebSocketStream::server(stream, config), reply).await,
            Some(agreed) => {
                let socket = CompressedWebSocketStream::server(stream, config, agreed);
                stage::echo(socket, reply).await
            }
        }
    }
}

fn main() -> Outcome {
    stage::run::<Echo>()
}

fn reply(message: Message) -> Option<Message> {
    matches!(message, Message::Text(_) | Message::Binary(_)).then_some(message)
}

/// Answers the request; what was agreed on compression, if anything.
async fn shake_hands(
    stream: &mut impl Transport,
    deflate: bool,
) -> Result<Option<DeflateConfig>, Box<dyn std::error::Error>> {
    // The fastest level that there is.
    let policy = DeflateConfig { compression_level: 1, ..DeflateConfig::default() };
    let mut head = BytesMut::with_capacity(1024);
    loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Err("the peer left during the handshake".into());
        }
        let Some((request, _)) = parse_request(&head)? else { continue };
        let offers = request.extensions.filter(|_| deflate);
        let agreed = offers.and_then(|offers| negotiate_server_deflate(offers, &policy));
        let answer = agreed.as_ref().map(|agreed| agreed.to_response_header());
        let response = build_response(&generate_accept_key(request.key), None, answer.as_deref());
        stream.write_all(&response).await?;
        return Ok(agreed.map(|agreed| agreed.config));
    }
}
