//! Echo, whole: `cargo run --release --example echo`.

use ringsock::{Conn, Handler, Message, Server};

struct Echo;

impl Handler for Echo {
    type State = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        conn.send(message);
    }
}

fn main() -> ringsock::Result<()> {
    Server::builder().listen("127.0.0.1:9001")?.serve(|_shard| Echo)
}
