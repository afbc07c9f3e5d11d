//! A chat room: state for each connection, a refusal before the upgrade, a topic that reaches every
//! core. `cargo run --release --example chat`, then open <http://127.0.0.1:9001/> twice.

use ringsock::http::{Page, Request, Status};
use ringsock::{CloseCode, CloseInfo, Conn, Handler, Message, Server, Text, Upgrade};

struct Chat;

struct Member {
    name: String,
}

const LOBBY: &str = "room/lobby";

impl Handler for Chat {
    type State = Member;

    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<Member> {
        let name = request.query("name").unwrap_or_default();
        if name.is_empty() || name.contains(':') || name.len() > 64 {
            return Upgrade::reject(Status::UNAUTHORIZED, "a name is needed: ?name=ada");
        }
        let upgrade = Upgrade::accept(Member { name: name.into_owned() });
        match request.offers_subprotocol("chat.v1") {
            true => upgrade.subprotocol("chat.v1"),
            false => upgrade,
        }
    }

    fn on_open(&mut self, conn: &mut Conn<'_, Member>) {
        conn.subscribe(LOBBY);
        let news = format!("* {} came in", conn.state().name);
        conn.publish(LOBBY, Text(news));
    }

    fn on_message(&mut self, conn: &mut Conn<'_, Member>, message: Message<'_>) {
        let Some(line) = message.as_text() else {
            return conn.close(CloseCode::UNSUPPORTED, "text only");
        };
        let line = format!("{}: {line}", conn.state().name);
        let reached = conn.publish(LOBBY, Text(line));
        tracing::trace!(subscribers = reached.queued);
    }

    fn on_close(&mut self, conn: &mut Conn<'_, Member>, _info: CloseInfo<'_>) {
        let news = format!("* {} left", conn.state().name);
        conn.publish(LOBBY, Text(news));
    }
}

/// The example's arguments: where to listen.
fn address() -> String {
    std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned())
}

fn main() -> ringsock::Result<()> {
    Server::builder()
        .listen(&address())?
        .page("/", Page::html(include_str!("page.html")))
        .serve(|_shard| Chat)
}
