//! Echo on tokio-websockets: messages are not cut into frames, as in the library's own benchmark.

use stage::Outcome;
use tokio_websockets::{Config, Limits, ServerBuilder};

fn main() -> Outcome {
    stage::serve(async |stream| {
        let config = Config::default().frame_size(usize::MAX);
        let builder = ServerBuilder::new().config(config).limits(Limits::unlimited());
        let (_request, socket) = builder.accept(stream).await?;
        stage::echo(socket, |message| (message.is_text() || message.is_binary()).then_some(message))
            .await
    })
}
