//! A chat room: state for each connection, a refusal before the upgrade, a topic.
//! `cargo run --release --example chat`, then connect to `ws://127.0.0.1:9001/?name=ada`.

use ringsock::{CloseCode, Conn, Cores, Handler, Message, Request, Server, Status, Text, Upgrade};

struct Chat;

struct Member {
    name: String,
}

const LOBBY: &str = "room/lobby";

impl Handler for Chat {
    type State = Member;

    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<Member> {
        match request.query("name") {
            Some(name) => {
                let upgrade = Upgrade::accept(Member { name: name.into_owned() });
                match request.offers_subprotocol("chat.v1") {
                    true => upgrade.subprotocol("chat.v1"),
                    false => upgrade,
                }
            }
            None => Upgrade::reject(Status::UNAUTHORIZED, "a name is needed: ?name=ada"),
        }
    }

    fn on_open(&mut self, conn: &mut Conn<'_, Member>) {
        conn.subscribe(LOBBY);
    }

    fn on_message(&mut self, conn: &mut Conn<'_, Member>, message: Message<'_>) {
        let Some(line) = message.as_text() else {
            return conn.close(CloseCode::UNSUPPORTED, "text only");
        };
        let line = format!("{}: {line}", conn.state().name);
        let reached = conn.publish(LOBBY, Text(line));
        tracing::trace!(subscribers = reached.queued);
    }
}

fn main() -> ringsock::Result<()> {
    // Topics are those of one shard, so a room on one core sees everybody.
    Server::builder().cores(Cores::List(vec![0])).listen("127.0.0.1:9001")?.serve(|_shard| Chat)
}
