//! Servers joined by a backend, and topics with options, over real sockets.

use std::net::SocketAddr;
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex};
use std::thread;

use ringsock::{
    Backend, Conn, Cores, Driver, Handler, Interest, KIB, Limits, Message, Position, Prepared,
    Publication, Publish, Publisher, SendPolicy, Server, SlowPolicy, Subscribe, Text, TopicOptions,
};
use socket2::{Domain, Socket, Type};

use crate::client::{self, Client};
use crate::served::{Served, for_each_driver};

/// Subscribes to what it is told, from where it is told, and says what it got and missed. From `!`
/// on it drops what does not fit.
struct Member {
    welcome: Prepared,
}

impl Handler for Member {
    type State = ();

    fn on_open(&mut self, conn: &mut Conn<'_, ()>) {
        conn.send(&self.welcome);
    }

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        let text = message.as_text().unwrap_or_default().to_owned();
        let (verb, rest) = text.split_at(1);
        if verb == ">" {
            let (topic, body) = rest.split_once(' ').unwrap_or((rest, ""));
            conn.publish(topic, Text(body));
            return;
        }
        if verb == "!" {
            conn.set_send_policy(SendPolicy::DropNewest);
            return;
        }
        let words: Vec<&str> = rest.split(' ').collect();
        let from = match words[..] {
            [_, epoch, offset] => {
                Some(Position { epoch: epoch.parse().unwrap(), offset: offset.parse().unwrap() })
            }
            _ => None,
        };
        let how = Subscribe { from, ..Subscribe::default() };
        let subscribed = conn.subscribe_with(words[0], how).unwrap();
        let Position { epoch, offset } =
            subscribed.position.unwrap_or(Position { epoch: 0, offset: 0 });
        conn.send(Text(format!("{epoch} {offset} {}", subscribed.complete)));
    }

    fn on_gap(&mut self, conn: &mut Conn<'_, ()>, topic: &str, messages: u64) {
        conn.send(Text(format!("gap {topic} {messages}")));
    }
}

const WELCOME: &str = "welcome";

fn member() -> Member {
    Member { welcome: Prepared::text(&WELCOME.repeat(500)) }
}

fn over(mut client: Client) -> Client {
    client.expect_text(&WELCOME.repeat(500));
    client
}

/// What carries publications between the servers of this process: a queue and a thread.
type Wire = SyncSender<(u64, String, Vec<u8>)>;

struct InMemory {
    wire: Wire,
    wanted: Mutex<Vec<(String, bool)>>,
}

impl Backend for InMemory {
    fn publish(&self, publication: &Publication<'_>) {
        let Publication { origin, topic, payload, .. } = *publication;
        // One that is full loses the message; none of these tests sends that many.
        let _ = self.wire.try_send((origin, topic.to_owned(), payload.to_vec()));
    }

    fn interest(&self, interest: Interest<'_>) {
        assert!(!interest.is_pattern);
        self.wanted.lock().unwrap().push((interest.name.to_owned(), interest.wanted));
    }
}

/// Two servers, each with its publisher and backend, and what carries messages between them.
fn joined(driver: Driver) -> (Vec<Served>, Vec<Arc<InMemory>>) {
    let (wire, carried) = mpsc::sync_channel::<(u64, String, Vec<u8>)>(1_000);
    let (mut servers, mut backends, mut publishers) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..2 {
        let backend = Arc::new(InMemory { wire: wire.clone(), wanted: Mutex::default() });
        let for_server = Arc::clone(&backend);
        let server = Server::builder().listen("127.0.0.1:0").unwrap().driver(driver);
        let server = server.cores(Cores::All).backend(move |_publisher: Publisher| for_server);
        let running = server.start(|_| member()).unwrap();
        publishers.push(running.publisher());
        servers.push(Served::adopt(running));
        backends.push(backend);
    }
    // Like a broker it brings everything to everybody, the sender included. It ends with the wire.
    thread::spawn(move || {
        for (origin, topic, payload) in carried {
            for publisher in &publishers {
                let kind = ringsock::protocol::MessageKind::Text;
                let (topic, payload) = (&*topic, &*payload);
                let all = Publish::default();
                let (tags, key) = (all.tags, all.key);
                publisher.arrived(&Publication { origin, topic, kind, payload, tags, key });
            }
        }
    });
    (servers, backends)
}

fn subscribed(address: SocketAddr, topic: &str) -> Client {
    let mut client = over(Client::connect(address));
    client.send_text(&format!("+{topic}"));
    client.expect_frame();
    client
}

#[test]
fn nodes_joined_by_a_backend_share_topics_and_nobody_gets_a_message_twice() {
    for_each_driver(|driver| {
        let (servers, backends) = joined(driver);
        let mut here: Vec<_> = (0..6).map(|_| subscribed(servers[0].address, "t")).collect();
        let mut there: Vec<_> = (0..6).map(|_| subscribed(servers[1].address, "t")).collect();
        for number in 0..50 {
            here[0].send_text(&format!(">t from here {number}"));
            servers[1].controller.publisher().publish("t", Text(format!("from there {number}")));
        }
        for client in here.iter_mut().chain(&mut there) {
            let mut next = [0, 0];
            for _ in 0..100 {
                let text = String::from_utf8(client.expect_frame().payload).unwrap();
                let side = usize::from(text.starts_with("from there"));
                let number = text.rsplit(' ').next().unwrap().parse::<usize>().unwrap();
                assert_eq!(number, next[side], "{text}");
                next[side] += 1;
            }
        }
        servers[0].controller.publisher().missed("t", 3);
        here.iter_mut().for_each(|client| client.expect_text("gap t 3"));
        drop(there);
        let wanted = || backends[1].wanted.lock().unwrap().clone();
        crate::process::wait_until(client::PATIENCE, "the interest ends", || wanted().len() == 2);
        assert_eq!(wanted(), [("t".to_owned(), true), ("t".to_owned(), false)]);
    });
}

fn start(driver: Driver, options: TopicOptions) -> Served {
    let server = Server::builder().listen("127.0.0.1:0").unwrap().driver(driver);
    let server = server.cores(Cores::All).topics("state/*", options);
    Served::adopt(server.start(|_| member()).unwrap())
}

#[test]
fn those_who_come_back_get_what_they_missed() {
    for_each_driver(|driver| {
        let options = TopicOptions { history_messages: 100, ..TopicOptions::default() };
        let server = start(driver, options);
        let mut clients: Vec<_> = (0..8).map(|_| over(Client::connect(server.address))).collect();
        let mut first = String::new();
        for client in &mut clients {
            client.send_text("+state/1");
            first = String::from_utf8(client.expect_frame().payload).unwrap();
        }
        let epoch = first.split(' ').next().unwrap();
        let publisher = server.controller.publisher();
        for number in 0..40 {
            publisher.publish("state/1", Text(number.to_string()));
        }
        for client in &mut clients {
            (0..40).for_each(|number| client.expect_text(&number.to_string()));
        }
        for offset in [40, 25, 0] {
            let mut client = over(Client::connect(server.address));
            client.send_text(&format!("+state/1 {epoch} {offset}"));
            (offset..40).for_each(|number| client.expect_text(&number.to_string()));
            client.expect_text(&format!("{epoch} 40 true"));
        }
        let mut client = over(Client::connect(server.address));
        client.send_text(&format!("+state/1 {epoch} 41"));
        client.expect_text(&format!("{epoch} 40 false"));
        publisher.publish("state/1", Text("and on"));
        client.expect_text("and on");
    });
}

#[test]
fn more_than_may_wait_is_not_recovered_and_whoever_asks_is_told_so() {
    for_each_driver(|driver| {
        let options = TopicOptions { history_messages: 100, ..TopicOptions::default() };
        let limits = Limits { send_queue_bytes_max: 256 * KIB, ..Limits::default() };
        let server = Server::builder().listen("127.0.0.1:0").unwrap().driver(driver);
        let server = server.limits(limits).cores(Cores::All).topics("state/*", options);
        let server = Served::adopt(server.start(|_| member()).unwrap());
        let mut client = over(Client::connect(server.address));
        client.send_text("+state/1");
        let first = String::from_utf8(client.expect_frame().payload).unwrap();
        let epoch = first.split(' ').next().unwrap();
        let publisher = server.controller.publisher();
        let text = |number: usize| format!("{number} {}", "x".repeat(8_000));
        for number in 0..100 {
            publisher.publish("state/1", Text(text(number)));
            client.expect_text(&text(number));
        }
        for (offset, policy) in [(100, ""), (101, "!")] {
            let mut client = over(Client::connect(server.address));
            if !policy.is_empty() {
                client.send_text(policy);
            }
            client.send_text(&format!("+state/1 {epoch} 0"));
            client.expect_text(&format!("{epoch} {offset} false"));
            // It is subscribed all the same, and what fits is recovered.
            publisher.publish("state/1", Text("and on"));
            client.expect_text("and on");
        }
        let mut client = over(Client::connect(server.address));
        client.send_text(&format!("+state/1 {epoch} 90"));
        (90..100).for_each(|number| client.expect_text(&text(number)));
        (0..2).for_each(|_| client.expect_text("and on"));
        client.expect_text(&format!("{epoch} 102 true"));
    });
}

#[test]
fn a_slow_subscriber_of_a_state_gets_the_latest_and_keeps_its_connection() {
    for_each_driver(|driver| {
        let options = TopicOptions {
            slow: SlowPolicy::Latest,
            backlog_bytes: 16 * KIB,
            retain: true,
            ..TopicOptions::default()
        };
        let server = start(driver, options);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4 * KIB).unwrap();
        socket.connect(&server.address.into()).unwrap();
        let mut slow = Client::over(socket.into());
        slow.send_bytes(client::upgrade_request("/", "").as_bytes());
        let head = slow.head().unwrap();
        slow.check_switched(&head);
        let mut slow = over(slow);
        slow.send_text("+state/1");
        slow.expect_frame();
        let mut quick = subscribed(server.address, "state/1");
        let publisher = server.controller.publisher();
        // More than any socket buffer holds. The quick one reads each before the next.
        let text = |number: usize| format!("{number} {}", "x".repeat(8_000));
        let last = 2_000;
        for number in 0..=last {
            publisher.publish("state/1", Text(text(number)));
            quick.expect_text(&text(number));
        }
        let mut numbers = Vec::new();
        while numbers.last() != Some(&last) {
            let got = String::from_utf8(slow.expect_frame().payload).unwrap();
            numbers.push(got.split(' ').next().unwrap().parse().unwrap());
        }
        assert!(numbers.is_sorted() && numbers.len() < last, "{} messages", numbers.len());
        publisher.publish("state/1", Text("and on"));
        slow.expect_text("and on");
        let mut late = over(Client::connect(server.address));
        late.send_text("+state/1");
        late.expect_text("and on");
    });
}
