//! Upgrades whose decision waits: for a while, for ever, for a client that has gone meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use ringsock::http::{Request, Status};
use ringsock::testing::MemoryServer;
use ringsock::{Conn, Handler, KIB, Limits, Message, Text, Upgrade};

use crate::client::{self, Client, PATIENCE, TEXT, upgrade_request};
use crate::served::{Served, for_each_driver};

/// Counts futures that were dropped, ready or not.
#[derive(Clone, Default)]
struct Dropped(Arc<AtomicU32>);

struct OnDrop(Dropped);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Dropped {
    fn expect(&self, count: u32) {
        let deadline = Instant::now() + PATIENCE;
        while self.0.load(Ordering::SeqCst) != count {
            assert!(Instant::now() < deadline, "{} of {count}", self.0.load(Ordering::SeqCst));
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Takes its time, as the path says.
#[derive(Default)]
struct Slow(Dropped);

impl Handler for Slow {
    type State = String;

    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<String> {
        let path = request.path().to_owned();
        let guard = OnDrop(self.0.clone());
        Upgrade::later(async move {
            let _guard = guard;
            match path.as_str() {
                "/never" => std::future::pending().await,
                "/panic" => panic!("as the test wants"),
                "/refuse" => Upgrade::reject(Status::FORBIDDEN, "not you"),
                "/twice" => Upgrade::later(async { Upgrade::accept("twice".to_owned()) }),
                "/at-once" => Upgrade::accept("at once".to_owned()),
                _ => {
                    sleep(Duration::from_millis(50)).await;
                    Upgrade::accept("slept".to_owned()).header("X-Slept", "yes")
                }
            }
        })
    }

    fn on_open(&mut self, conn: &mut Conn<'_, String>) {
        let state = conn.state().clone();
        let _queued = conn.send(Text(state));
    }

    fn on_message(&mut self, conn: &mut Conn<'_, String>, message: Message<'_>) {
        let _queued = conn.send(message);
    }
}

/// Another thread wakes the task, as a database's answer would.
async fn sleep(time: Duration) {
    let (done, waker) = (Arc::new(AtomicU32::new(0)), Arc::new(std::sync::Mutex::new(None)));
    let shared = (Arc::clone(&done), Arc::clone(&waker));
    let mut thread = None;
    std::future::poll_fn(|context: &mut std::task::Context<'_>| {
        *waker.lock().unwrap() = Some(context.waker().clone());
        if done.load(Ordering::SeqCst) == 1 {
            return std::task::Poll::Ready(());
        }
        let (done, waker) = shared.clone();
        thread.get_or_insert_with(|| {
            std::thread::spawn(move || {
                std::thread::sleep(time);
                done.store(1, Ordering::SeqCst);
                let waker: Option<std::task::Waker> = waker.lock().unwrap().take();
                waker.into_iter().for_each(std::task::Waker::wake);
            })
        });
        std::task::Poll::Pending
    })
    .await;
}

fn serve(driver: ringsock::Driver, limits: Limits) -> (Served, Dropped) {
    let dropped = Dropped::default();
    let own = dropped.clone();
    let server =
        Served::configured(driver, |server| server.limits(limits), move |_| Slow(own.clone()));
    (server, dropped)
}

#[test]
fn a_decision_may_wait_and_others_are_served_meanwhile() {
    for_each_driver(|driver| {
        let (server, dropped) = serve(driver, Limits::default());
        let mut waiting = Client::raw(server.address);
        waiting.send_bytes(upgrade_request("/never", "").as_bytes());
        for (path, greeting) in [("/slow", "slept"), ("/at-once", "at once"), ("/twice", "twice")] {
            let (mut client, head) = Client::upgrade(server.address, path, "");
            client.expect_text(greeting);
            client.echo("hello");
            assert_eq!(head.contains("\r\nX-Slept: yes"), path == "/slow", "{head}");
        }
        let mut refused = Client::raw(server.address);
        refused.send_bytes(upgrade_request("/refuse", "").as_bytes());
        assert!(refused.head().unwrap().starts_with("HTTP/1.1 403 "));
        dropped.expect(4);
    });
}

#[test]
fn a_panic_in_a_decision_is_answered_with_500_and_ends_nothing_else() {
    for_each_driver(|driver| {
        let (server, _) = serve(driver, Limits::default());
        let mut client = Client::raw(server.address);
        client.send_bytes(upgrade_request("/panic", "").as_bytes());
        assert!(client.head().unwrap().starts_with("HTTP/1.1 500 "));
        Client::upgrade(server.address, "/slow", "").0.expect_text("slept");
    });
}

#[test]
fn what_comes_before_the_decision_is_handled_after_it() {
    for_each_driver(|driver| {
        let (server, _) = serve(driver, Limits::default());
        let mut client = Client::raw(server.address);
        let request = upgrade_request("/slow", "");
        let mut bytes = client::frame(true, TEXT, b"early", 9);
        bytes.extend(client::frame(true, TEXT, &[b'x'; 3000], 10));
        client.send_bytes(request.as_bytes());
        for piece in bytes.chunks(1000) {
            client.send_bytes(piece);
            std::thread::sleep(Duration::from_millis(3));
        }
        let head = client.head().unwrap();
        client.check_switched(&head);
        client.expect_text("slept");
        client.expect_text("early");
        client.expect_text(&"x".repeat(3000));
        client.echo("and then");
    });
}

#[test]
fn too_much_before_the_decision_is_refused() {
    for_each_driver(|driver| {
        let (server, dropped) = serve(driver, Limits { early_bytes_max: KIB, ..Limits::default() });
        for (bytes, status) in [(KIB, "101"), (KIB + 1, "400")] {
            let path = if status == "101" { "/slow" } else { "/never" };
            let mut client = Client::raw(server.address);
            let payload = vec![b'x'; bytes - 8];
            let mut sent = upgrade_request(path, "").into_bytes();
            sent.extend(client::frame(true, TEXT, &payload, 11));
            client.send_bytes(&sent);
            let head = client.head().unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{bytes}: {head}");
        }
        dropped.expect(2);
    });
}

#[test]
fn a_client_that_goes_away_ends_its_decision() {
    for_each_driver(|driver| {
        let (server, dropped) = serve(driver, Limits::default());
        for number in 0..20 {
            let mut client = Client::raw(server.address);
            client.send_bytes(upgrade_request("/never", "").as_bytes());
            std::thread::sleep(Duration::from_millis(2));
            if number % 2 == 0 { client.reset() } else { drop(client) }
        }
        dropped.expect(20);
        // Gone before the answer is there: nothing is left behind.
        for _ in 0..5 {
            Client::raw(server.address).send_bytes(upgrade_request("/slow", "").as_bytes());
        }
        dropped.expect(25);
        Client::upgrade(server.address, "/slow", "").0.expect_text("slept");
    });
}

#[test]
fn the_time_for_a_handshake_holds_for_its_decision_too() {
    for_each_driver(|driver| {
        let limits = Limits { handshake_timeout: Duration::from_millis(300), ..Limits::default() };
        let (server, dropped) = serve(driver, limits);
        let mut client = Client::raw(server.address);
        let began = Instant::now();
        client.send_bytes(upgrade_request("/never", "").as_bytes());
        let head = client.head().unwrap();
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        assert!(began.elapsed() >= Duration::from_millis(250), "{:?}", began.elapsed());
        drop(client);
        dropped.expect(1);
    });
}

#[test]
fn a_server_in_memory_decides_when_told_to() {
    let mut server = MemoryServer::new(Limits::default(), Slow::default()).unwrap();
    let peer = server.connect();
    server.receive(peer, upgrade_request("/twice", "").as_bytes());
    assert_eq!(server.take_sent(peer), b"");
    server.run_commands();
    let sent = server.take_sent(peer);
    assert!(sent.starts_with(b"HTTP/1.1 101 ") && sent.ends_with(b"\r\n\r\n\x81\x05twice"));
    let never = server.connect();
    server.receive(never, upgrade_request("/never", "").as_bytes());
    server.reset(never);
    server.run_commands();
    assert_eq!(server.connections(), 1);
    assert_eq!(server.handler().0.0.load(Ordering::SeqCst), 2);
}
