//! Several applications on one server, as it stands behind a proxy: routes, a page, a health check,
//! who may come in. `cargo run --release --example site`, then open <http://127.0.0.1:9001/>.

use ringsock::http::{Page, Request, Status};
use ringsock::policy::{AllowedOrigins, Authentication, ResponseHeaders, Secrets};
use ringsock::server::TrustedProxies;
use ringsock::{Conn, Handler, Message, Server, Text, Upgrade};

/// Sends everything back.
struct Echo;

impl Handler for Echo {
    type State = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        conn.send(message);
    }
}

/// Passes on what is said in a room. Who may speak there is looked up first.
struct Rooms;

struct Speaker {
    name: String,
    topic: String,
}

/// Stands for a database.
async fn may_enter(name: &str, room: &str) -> bool {
    room != "board" || name == "ada"
}

impl Handler for Rooms {
    type State = Speaker;

    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<Speaker> {
        let name = request.identity().unwrap_or("somebody").to_owned();
        let room = request.param("room").unwrap_or_default().to_owned();
        Upgrade::later(async move {
            match may_enter(&name, &room).await {
                true => Upgrade::accept(Speaker { name, topic: format!("room/{room}") }),
                false => Upgrade::reject(Status::FORBIDDEN, "this room is not yours"),
            }
        })
    }

    fn on_open(&mut self, conn: &mut Conn<'_, Speaker>) {
        let topic = conn.state().topic.clone();
        let _ = conn.subscribe(&topic);
    }

    fn on_message(&mut self, conn: &mut Conn<'_, Speaker>, message: Message<'_>) {
        let Speaker { name, topic } = conn.state();
        let line = format!("{name}: {}", message.as_text().unwrap_or("(not text)"));
        let topic = topic.clone();
        conn.publish(&topic, Text(line));
    }
}

const PAGE: &str = "<!doctype html><title>site</title><pre id=log></pre><script>
let socket = new WebSocket(`ws://${location.host}/room/lobby?token=s3cret`)
socket.onopen = () => socket.send('hello')
socket.onmessage = event => log.append(event.data, '\\n')
</script>";

fn main() -> ringsock::Result<()> {
    let members = Secrets::new([("ada", "s3cret"), ("bob", "hunter2")]);
    Server::builder()
        .listen("127.0.0.1:9001")?
        .trusted_proxies(TrustedProxies::new(["127.0.0.1"])?.x_forwarded_for())
        .policy(ResponseHeaders::new([("X-Content-Type-Options", "nosniff")])?)
        .policy(AllowedOrigins::new(["http://127.0.0.1:9001"])?)
        .policy_at("/room/{room}", Authentication::new(members).bearer().query("token"))
        .route("/echo", |_shard| Echo)
        .route("/room/{room}", |_shard| Rooms)
        .page("/", Page::html(PAGE))
        .health("/healthz")
        .run()
}
