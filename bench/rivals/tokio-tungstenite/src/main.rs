//! Echo on tokio-tungstenite, with its default settings.

use stage::Outcome;

fn main() -> Outcome {
    stage::serve(async |stream| {
        let socket = tokio_tungstenite::accept_async(stream).await?;
        stage::echo(socket, |message| (message.is_text() || message.is_binary()).then_some(message))
            .await
    })
}
