//! Topics with options, over real sockets: histories and slow subscribers.

use std::net::SocketAddr;

use ringsock::server::Latency;
use ringsock::topics::{Position, SlowPolicy, Subscribe, TopicOptions};
use ringsock::{
    Conn, Cores, Driver, Handler, KIB, Limits, Message, Prepared, SendPolicy, Server, Text,
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

fn subscribed(address: SocketAddr, topic: &str) -> Client {
    let mut client = over(Client::connect(address));
    client.send_text(&format!("+{topic}"));
    client.expect_frame();
    client
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

/// A member that takes little and reads only when it is asked to.
fn slow_member(address: SocketAddr, topic: &str) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4 * KIB).unwrap();
    socket.connect(&address.into()).unwrap();
    let mut client = Client::over(socket.into());
    client.send_bytes(client::upgrade_request("/", "").as_bytes());
    let head = client.head().unwrap();
    client.check_switched(&head);
    let mut client = over(client);
    client.send_text(&format!("+{topic}"));
    client.expect_frame();
    client
}

/// What a slow member gets of messages with numbers until it is told something else: the numbers,
/// and that.
fn numbers_until_told(client: &mut Client) -> (Vec<usize>, String) {
    let mut numbers = Vec::new();
    loop {
        let text = String::from_utf8(client.expect_frame().payload).unwrap();
        match text.split(' ').next().unwrap().parse() {
            Ok(number) => numbers.push(number),
            Err(_) => return (numbers, text),
        }
    }
}

#[test]
fn each_policy_does_what_it_says_for_a_slow_subscriber_of_whom_the_kernel_holds_little() {
    const MESSAGES: usize = 400;
    for_each_driver(|driver| {
        for slow in [SlowPolicy::DropNewest, SlowPolicy::DropOldest, SlowPolicy::Latest] {
            let options = TopicOptions { slow, backlog_bytes: 1_500, ..TopicOptions::default() };
            let latency = Latency { tcp_notsent_lowat_bytes: 2_048, ..Latency::default() };
            // Six of 500 bytes, and what it takes to keep them.
            let limits = Limits { lag_bytes_max: 6 * 600, ..Limits::default() };
            let server = Server::builder().listen("127.0.0.1:0").unwrap().driver(driver);
            let server = server.latency(latency).limits(limits).topics("state/*", options);
            let server = server.cores(Cores::List(vec![0]));
            let server = Served::adopt(server.start(|_| member()).unwrap());
            let mut lagging = slow_member(server.address, "state/1");
            let mut quick = subscribed(server.address, "state/1");
            let publisher = server.controller.publisher();
            let text = |number: usize| format!("{number} {}", "x".repeat(490));
            for number in 0..MESSAGES {
                publisher.publish("state/1", Text(text(number)));
                quick.expect_text(&text(number));
            }
            publisher.publish("state/1", Text("end"));
            quick.expect_text("end");
            let (numbers, told) = numbers_until_told(&mut lagging);
            let straight = (0..).zip(&numbers).take_while(|(place, number)| place == *number);
            let straight = straight.count();
            // The queue, two kernel buffers and what is on its way between them.
            assert!((5..60).contains(&straight), "{slow:?}: {numbers:?}");
            let rest = &numbers[straight..];
            let report = server.controller.reports(client::PATIENCE, 0).remove(0).unwrap();
            let counters = report.counters;
            let missed = match slow {
                SlowPolicy::DropNewest => {
                    assert_eq!(rest, []);
                    MESSAGES + 1 - straight
                }
                SlowPolicy::DropOldest => {
                    // The last five, and the end, for which the sixth had to go.
                    assert_eq!(rest, (MESSAGES - 5..MESSAGES).collect::<Vec<_>>());
                    assert_eq!(told, "end");
                    MESSAGES - straight - 5
                }
                _ => {
                    assert_eq!((rest, &*told), (&[][..], "end"), "only the latest");
                    assert_eq!(counters.published_replaced as usize, MESSAGES - straight);
                    0
                }
            };
            assert_eq!(counters.published_dropped as usize, missed, "{slow:?}");
            if missed > 0 {
                let gap = format!("gap state/1 {missed}");
                match slow {
                    SlowPolicy::DropNewest => assert_eq!(told, gap),
                    _ => lagging.expect_text(&gap),
                }
            }
            assert!(report.deliveries.total() as usize >= MESSAGES + straight);
            // It has caught up.
            publisher.publish("state/1", Text("and on"));
            lagging.expect_text("and on");
        }
    });
}

#[test]
fn a_slow_subscriber_of_a_state_gets_the_latest_and_whoever_comes_late_gets_it_at_once() {
    for_each_driver(|driver| {
        let options =
            TopicOptions { slow: SlowPolicy::Latest, retain: true, ..TopicOptions::default() };
        let server = start(driver, options);
        let publisher = server.controller.publisher();
        let mut quick = subscribed(server.address, "state/1");
        for text in ["old", "new"] {
            publisher.publish("state/1", Text(text));
            quick.expect_text(text);
        }
        let mut late = over(Client::connect(server.address));
        late.send_text("+state/1");
        late.expect_text("new");
    });
}
