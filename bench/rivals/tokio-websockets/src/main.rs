//! Echo on tokio-websockets: messages are not cut into frames, as in the library's own benchmark.

use stage::{Outcome, Transport};
use tokio_websockets::{Config, Limits, ServerBuilder};

struct Echo;

impl stage::Server for Echo {
    async fn serve<T: Transport>(stream: T, _deflate: bool) -> Outcome {
        let config = Config::default().frame_size(usize::MAX);
        let builder = ServerBuilder::new().config(config).limits(Limits::unlimited());
        let (_request, socket) = builder.accept(stream).await?;
        stage::echo(socket, |message| (message.is_text() || message.is_binary()).then_some(message))
            .await
    }
}

fn main() -> Outcome {
    stage::run::<Echo>()
}
