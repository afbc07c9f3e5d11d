//! Work that must wait: the answer to a message comes from a task, which may outlive the
//! connection. `cargo run --release --example deferred`.

use std::time::Duration;

use ringsock::{Conn, Handler, Message, Server, Text};

struct Deferred;

/// Stands for a database: answers after a while.
async fn look_up(question: String) -> String {
    monoio::time::sleep(Duration::from_millis(20)).await;
    format!("{question}? 42")
}

impl Handler for Deferred {
    type State = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        let peer = conn.peer();
        let question = message.as_text().unwrap_or("bytes").to_owned();
        ringsock::spawn(async move {
            let answer = look_up(question).await;
            // The connection may be gone meanwhile; then nobody waits for the answer.
            let _ = peer.send(Text(answer));
        });
    }
}

fn main() -> ringsock::Result<()> {
    Server::builder().listen("127.0.0.1:9001")?.serve(|_shard| Deferred)
}
