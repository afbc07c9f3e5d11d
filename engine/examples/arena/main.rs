//! A game on a fixed tick: thirty times a second, on absolute deadlines, the world moves and its
//! state goes to every player as one binary message. Who reads slowly gets the latest state only:
//! at most a few wait here, and a few in the kernel.
//! `cargo run --release --example arena`, then open <http://127.0.0.1:9001/> twice.

mod world;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringsock::client::Outbound;
use ringsock::http::{Page, Request};
use ringsock::server::Latency;
use ringsock::topics::{SlowPolicy, TopicOptions};
use ringsock::{
    Binary, CloseCode, CloseInfo, Conn, Cores, Handler, Message, Server, Upgrade, publish, spawn,
};
use world::{PlayerId, World};

const TICK: Duration = Duration::from_nanos(1_000_000_000 / 30);
/// Ticks made up for after a delay; further ones are skipped.
const CATCH_UP_MAX: u32 = 5;
const TOPIC: &str = "arena";

struct Arena {
    world: Rc<RefCell<World>>,
}

impl Handler for Arena {
    type State = Option<PlayerId>;

    fn on_start(&mut self, _outbound: &mut Outbound<Self::State>) {
        spawn(tick(Rc::clone(&self.world)));
    }

    fn on_upgrade(&mut self, _request: &Request<'_>) -> Upgrade<Self::State> {
        Upgrade::accept(None)
    }

    fn on_open(&mut self, conn: &mut Conn<'_, Self::State>) {
        let Some(player) = self.world.borrow_mut().join() else {
            return conn.close(CloseCode::TRY_AGAIN_LATER, "the arena is full");
        };
        *conn.state_mut() = Some(player);
        conn.send(Binary([player.0]));
        conn.subscribe(TOPIC);
    }

    /// Two bytes: where to, each from -127 to 127.
    fn on_message(&mut self, conn: &mut Conn<'_, Self::State>, message: Message<'_>) {
        match (message.bytes(), *conn.state()) {
            (&[x, y], Some(player)) => self.world.borrow_mut().steer(player, x as i8, y as i8),
            _ => conn.close(CloseCode::UNSUPPORTED, "two bytes: the direction"),
        }
    }

    fn on_close(&mut self, conn: &mut Conn<'_, Self::State>, _info: CloseInfo<'_>) {
        if let Some(player) = *conn.state() {
            self.world.borrow_mut().leave(player);
        }
    }
}

/// On absolute deadlines: a tick that comes late does not delay those after it.
async fn tick(world: Rc<RefCell<World>>) {
    let mut next = Instant::now();
    loop {
        next += TICK;
        monoio::time::sleep_until(next.into()).await;
        if next.elapsed() > TICK * CATCH_UP_MAX {
            next = Instant::now();
        }
        let state = {
            let mut world = world.borrow_mut();
            world.step();
            world.snapshot()
        };
        publish(TOPIC, Binary(state));
    }
}

/// The example's arguments: where to listen.
fn address() -> String {
    std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned())
}

fn main() -> ringsock::Result<()> {
    // Three states of a small game. Otherwise a slow player would first see all that waits.
    let latest =
        TopicOptions { slow: SlowPolicy::Latest, backlog_bytes: 600, ..TopicOptions::default() };
    let little = Latency { tcp_notsent_lowat_bytes: 1024, ..Latency::default() };
    // A world lives on one core, and so do its players: nothing in a tick takes a lock.
    Server::builder()
        .topics(TOPIC, latest)
        .latency(little)
        .cores(Cores::List(vec![0]))
        .listen(&address())?
        .page("/", Page::html(include_str!("page.html")))
        .serve(|_shard| Arena { world: Rc::default() })
}
