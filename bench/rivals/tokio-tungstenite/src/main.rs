//! Echo on tokio-tungstenite, with its default settings.

use stage::{Outcome, Transport};

struct Echo;

impl stage::Server for Echo {
    async fn serve<T: Transport>(stream: T, _deflate: bool) -> Outcome {
        let socket = tokio_tungstenite::accept_async(stream).await?;
        stage::echo(socket, |message| (message.is_text() || message.is_binary()).then_some(message))
            .await
    }
}

fn main() -> Outcome {
    stage::run::<Echo>()
}
