//! Servers of this process joined by a backend, over real sockets: what one publishes reaches the
//! subscribers of all once and in order, or they are told that it does not.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

use ringsock::protocol::MessageKind;
use ringsock::topics::{
    Backend, History, HistoryMessage, Interest, Position, Publication, PublicationId, Publisher,
    Reached, Subscribe, TopicOptions,
};
use ringsock::{Conn, Cores, Driver, Handler, Message, Server, Text};

use crate::client::{self, Client};
use crate::random::Random;
use crate::served::{Served, for_each_driver};

/// Subscribes to what it is told: `+name`, `*pattern`, or `<name epoch offset` to come back; and
/// publishes: `>name text`. Says what it got and missed.
struct Member;

impl Handler for Member {
    type State = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        let text = message.as_text().unwrap_or_default().to_owned();
        let (verb, rest) = text.split_at(1);
        let words: Vec<&str> = rest.splitn(3, ' ').collect();
        let answer = match (verb, &words[..]) {
            ("+", [topic]) => conn.subscribe(topic).to_string(),
            ("*", [pattern]) => conn.subscribe_matching(pattern).is_ok().to_string(),
            ("<", [topic, epoch, offset]) => {
                let from =
                    Position { epoch: epoch.parse().unwrap(), offset: offset.parse().unwrap() };
                let how = Subscribe { from: Some(from), ..Subscribe::default() };
                let subscribed = conn.subscribe_with(topic, how).unwrap();
                format!("{} {}", subscribed.recovered, subscribed.complete)
            }
            _ => {
                let (topic, body) = rest.split_once(' ').unwrap();
                conn.publish(topic, Text(body));
                return;
            }
        };
        conn.send(Text(answer));
    }

    fn on_gap(&mut self, conn: &mut Conn<'_, ()>, topic: &str, messages: u64) {
        conn.send(Text(format!("gap {topic} {messages}")));
    }
}

/// A publication on its way, with all that must travel.
#[derive(Clone, Debug)]
struct Travelling {
    id: PublicationId,
    topic: String,
    topic_sequence: u64,
    position: Option<Position>,
    kind: MessageKind,
    payload: Vec<u8>,
    tags: u64,
    key: u64,
}

impl Travelling {
    fn new(publication: &Publication<'_>) -> Self {
        let Publication { id, topic, topic_sequence, position, kind, payload, tags, key } =
            *publication;
        let (topic, payload) = (topic.to_owned(), payload.to_vec());
        Self { id, topic, topic_sequence, position, kind, payload, tags, key }
    }

    fn arrive(&self, at: &Publisher) -> Reached {
        at.arrived(&Publication {
            id: self.id,
            topic: &self.topic,
            topic_sequence: self.topic_sequence,
            position: self.position,
            kind: self.kind,
            payload: &self.payload,
            tags: self.tags,
            key: self.key,
        })
    }
}

/// What all nodes see of the histories that the broker keeps: by topic, from offset 1 on.
type Kept = Arc<Mutex<HashMap<String, Vec<HistoryMessage>>>>;

const EPOCH: u64 = 4711;

/// A node's side of the broker. With `kept` it keeps the histories.
struct Joined {
    wire: SyncSender<Travelling>,
    wanted: Mutex<Vec<(String, bool, bool)>>,
    publisher: OnceLock<Publisher>,
    kept: Option<Kept>,
}

impl Backend for Joined {
    fn publish(&self, publication: &Publication<'_>) {
        // One that is full loses the message; none of these tests sends that many.
        let _ = self.wire.try_send(Travelling::new(publication));
    }

    fn interest(&self, interest: Interest<'_>) {
        let Interest { name, is_pattern, wanted } = interest;
        self.wanted.lock().unwrap().push((name.to_owned(), is_pattern, wanted));
        if let (Some(kept), true, false) = (&self.kept, wanted, is_pattern) {
            let messages = kept.lock().unwrap().get(name).cloned().unwrap_or_default();
            let position = Position { epoch: EPOCH, offset: messages.len() as u64 };
            self.publisher.get().unwrap().seed_history(name, &History { position, messages });
        }
    }

    fn keeps_histories(&self) -> bool {
        self.kept.is_some()
    }
}

/// Servers that are joined, each with its backend.
struct Nodes {
    servers: Vec<Served>,
    backends: Vec<Arc<Joined>>,
}

impl Nodes {
    /// What is published on any of them comes to `carry`, with the publishers of all.
    fn join(
        driver: Driver,
        count: usize,
        keeps: bool,
        mut carry: impl FnMut(Travelling, &[Publisher]) + Send + 'static,
    ) -> Self {
        let (wire, carried) = mpsc::sync_channel::<Travelling>(100_000);
        let kept: Option<Kept> = keeps.then(Kept::default);
        let (mut servers, mut backends, mut publishers) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..count {
            let (wanted, publisher) = (Mutex::default(), OnceLock::new());
            let (wire, kept) = (wire.clone(), kept.clone());
            let backend = Arc::new(Joined { wire, wanted, publisher, kept });
            let for_server = Arc::clone(&backend);
            let options = TopicOptions { history_messages: 100, ..TopicOptions::default() };
            let server = Server::builder().listen("127.0.0.1:0").unwrap().driver(driver);
            let server = server.cores(Cores::All).topics("kept/*", options);
            let server = server.backend(move |publisher: Publisher| {
                for_server.publisher.set(publisher).expect("once");
                for_server
            });
            let running = server.start(|_| Member).unwrap();
            publishers.push(running.publisher());
            servers.push(Served::adopt(running));
            backends.push(backend);
        }
        // It ends with the wire.
        thread::spawn(move || {
            for mut publication in carried {
                if let Some(kept) = &kept
                    && publication.topic.starts_with("kept/")
                {
                    let mut kept = kept.lock().unwrap();
                    let history = kept.entry(publication.topic.clone()).or_default();
                    let (kind, tags) = (publication.kind, publication.tags);
                    let payload = publication.payload.clone();
                    history.push(HistoryMessage { kind, payload, tags });
                    let offset = history.len() as u64;
                    publication.position = Some(Position { epoch: EPOCH, offset });
                }
                carry(publication, &publishers);
            }
        });
        Self { servers, backends }
    }

    fn address(&self, node: usize) -> SocketAddr {
        self.servers[node].address
    }

    fn publish(&self, node: usize, topic: &str, text: &str) {
        self.servers[node].controller.publisher().publish(topic, Text(text));
    }

    fn told(&self, node: usize) -> Vec<(String, bool, bool)> {
        self.backends[node].wanted.lock().unwrap().clone()
    }
}

/// Like a broker that brings everything to everybody, the sender included.
fn to_all(publication: Travelling, nodes: &[Publisher]) {
    nodes.iter().for_each(|node| _ = publication.arrive(node));
}

fn member(address: SocketAddr, what: &str) -> Client {
    let mut client = Client::connect(address);
    client.send_text(what);
    client.expect_text("true");
    client
}

#[test]
fn nodes_share_topics_and_nobody_gets_a_message_twice() {
    for_each_driver(|driver| {
        let nodes = Nodes::join(driver, 2, false, to_all);
        let mut here: Vec<_> = (0..6).map(|_| member(nodes.address(0), "+t")).collect();
        let mut there: Vec<_> = (0..6).map(|_| member(nodes.address(1), "+t")).collect();
        for number in 0..50 {
            here[0].send_text(&format!(">t here {number}"));
            nodes.publish(1, "t", &format!("there {number}"));
        }
        for client in here.iter_mut().chain(&mut there) {
            let mut next = [0, 0];
            for _ in 0..100 {
                let text = String::from_utf8(client.expect_frame().payload).unwrap();
                let (side, number) = text.split_once(' ').unwrap();
                let side = usize::from(side == "there");
                assert_eq!(number.parse::<usize>().unwrap(), next[side], "{text}");
                next[side] += 1;
            }
        }
        nodes.servers[0].controller.publisher().missed("t", 3);
        here.iter_mut().for_each(|client| client.expect_text("gap t 3"));
        drop(there);
        let told = || nodes.told(1);
        crate::process::wait_until(client::PATIENCE, "the interest ends", || told().len() == 2);
        let expected = [("t", true), ("t", false)];
        let expected = expected.map(|(name, wanted)| (name.to_owned(), false, wanted));
        assert_eq!(told(), expected);
    });
}

#[test]
fn patterns_match_across_nodes_and_two_that_match_are_not_two_messages() {
    for_each_driver(|driver| {
        // A broker that brings a message once for each subscription of the node.
        let each = |publication: Travelling, nodes: &[Publisher]| {
            for _ in 0..2 {
                to_all(publication.clone(), nodes);
            }
        };
        let nodes = Nodes::join(driver, 2, false, each);
        let mut any = member(nodes.address(1), "*room/*");
        let mut rest = member(nodes.address(1), "*room/**");
        let mut exact = member(nodes.address(1), "+room/1");
        for number in 0..20 {
            nodes.publish(0, "room/1", &format!("one {number}"));
            nodes.publish(0, "room/2", &format!("two {number}"));
            nodes.publish(0, "hall/1", &format!("three {number}"));
        }
        for number in 0..20 {
            for client in [&mut any, &mut rest] {
                client.expect_text(&format!("one {number}"));
                client.expect_text(&format!("two {number}"));
            }
            exact.expect_text(&format!("one {number}"));
        }
        let mut told = nodes.told(1);
        told.sort();
        let expected = [("room/*", true), ("room/**", true), ("room/1", false)];
        let expected = expected.map(|(name, is_pattern)| (name.to_owned(), is_pattern, true));
        assert_eq!(told, expected);
    });
}

/// Brings publications to each node twice, late, or not at all, as chance has it; those that say
/// "sure" always. What is late comes behind the next for the same node.
fn unreliable(seed: u64) -> impl FnMut(Travelling, &[Publisher]) {
    let mut random = Random(seed);
    let mut late: BTreeMap<usize, Travelling> = BTreeMap::new();
    move |publication, nodes| {
        let sure = publication.payload.ends_with(b"sure");
        for (number, node) in nodes.iter().enumerate() {
            match random.below(10) {
                0 | 1 if !sure => {}
                2 if !sure => _ = late.insert(number, publication.clone()),
                3 | 4 => {
                    publication.arrive(node);
                    publication.arrive(node);
                }
                _ => _ = publication.arrive(node),
            }
            if let Some(late) = late.remove(&number).filter(|late| late.id != publication.id) {
                late.arrive(node);
            }
        }
    }
}

#[test]
fn what_is_lost_late_or_doubled_between_three_nodes_is_a_gap_or_nothing() {
    const MESSAGES: usize = 300;
    for_each_driver(|driver| {
        let seed = 7;
        let nodes = Nodes::join(driver, 3, false, unreliable(seed));
        let mut clients: Vec<_> = (0..9)
            .map(|number| {
                let what = ["+room/1", "*room/*", "+room/1"][number / 3];
                member(nodes.address(number % 3), what)
            })
            .collect();
        for node in 0..3 {
            nodes.publish(node, "room/1", &format!("{node} 0 sure"));
        }
        for number in 1..MESSAGES {
            let sure = if number + 1 == MESSAGES { "sure" } else { "perhaps" };
            for node in 0..3 {
                nodes.publish(node, "room/1", &format!("{node} {number} {sure}"));
            }
        }
        let mut missed_by_all = 0;
        for (place, client) in clients.iter_mut().enumerate() {
            let (mut next, mut received, mut missed) = ([0; 3], 0, 0);
            while next != [MESSAGES; 3] || received + missed < 3 * MESSAGES {
                let text = String::from_utf8(client.expect_frame().payload).unwrap();
                let words: Vec<&str> = text.split(' ').collect();
                if words[0] == "gap" {
                    missed += words[2].parse::<usize>().unwrap();
                    continue;
                }
                let node: usize = words[0].parse().unwrap();
                let number: usize = words[1].parse().unwrap();
                assert!(number >= next[node], "seed {seed}: {text} after {}", next[node]);
                assert!(node != place % 3 || number == next[node], "seed {seed}: its own node's");
                next[node] = number + 1;
                received += 1;
            }
            assert_eq!(received + missed, 3 * MESSAGES, "seed {seed}");
            missed_by_all += missed;
        }
        // A third of what two others publish, about, for each of nine.
        let expected = 9 * 2 * MESSAGES * 3 / 10;
        assert!(missed_by_all.abs_diff(expected) < expected / 2, "{missed_by_all}, {expected}");
        // Who comes and goes is told of nothing from before.
        drop(clients);
        crate::process::wait_until(client::PATIENCE, "all have left", || {
            nodes.servers.iter().all(|node| node.controller.publisher().subscribers("room/1") == 0)
        });
        // The broker comes to the last node last.
        let mut witness = member(nodes.address(2), "+room/1");
        for _ in 0..5 {
            nodes.publish(0, "room/1", "to nobody on the second");
        }
        nodes.publish(0, "room/1", "nor this, sure");
        while witness.expect_frame().payload != b"nor this, sure" {}
        let mut late = member(nodes.address(1), "+room/1");
        nodes.publish(0, "room/1", "welcome back, sure");
        late.expect_text("welcome back, sure");
    });
}

#[test]
fn a_history_that_the_backend_keeps_is_the_same_on_all_nodes() {
    for_each_driver(|driver| {
        // The second node hears of the third message only with the fourth, and of the others twice.
        let carry = |publication: Travelling, nodes: &[Publisher]| {
            for (number, node) in nodes.iter().enumerate() {
                let offset = publication.position.map_or(0, |position| position.offset);
                if number != 1 || offset != 3 {
                    publication.arrive(node);
                    publication.arrive(node);
                }
            }
        };
        let nodes = Nodes::join(driver, 3, true, carry);
        let mut clients: Vec<_> =
            (0..2).map(|node| member(nodes.address(node), "+kept/a")).collect();
        for number in 1..=6 {
            // It comes back to the node that it is published on, in its place.
            nodes.publish(number % 2, "kept/a", &number.to_string());
            clients[0].expect_text(&number.to_string());
        }
        let mut got: Vec<_> =
            (0..6).map(|_| String::from_utf8(clients[1].expect_frame().payload).unwrap()).collect();
        // It may be told of the gap just behind what came after it.
        let gap = got.iter().position(|text| text == "gap kept/a 1").expect("a gap");
        assert!(gap >= 2, "{got:?}");
        got.remove(gap);
        assert_eq!(got, ["1", "2", "4", "5", "6"]);
        // A node where nobody was subscribed recovers who comes from another.
        let mut back = Client::connect(nodes.address(2));
        back.send_text(&format!("<kept/a {EPOCH} 2"));
        ["3", "4", "5", "6"].iter().for_each(|text| back.expect_text(text));
        back.expect_text("4 true");
        nodes.publish(0, "kept/a", "7");
        back.expect_text("7");
        // And on the second, which has lost one, what it keeps begins behind that.
        clients[0].expect_text("7");
        clients[1].expect_text("7");
        let history = nodes.servers[1].controller.publisher().history("kept/a").unwrap();
        assert_eq!(history.position, Position { epoch: EPOCH, offset: 7 });
        let texts: Vec<_> = history.messages.iter().map(|message| &message.payload[..]).collect();
        assert_eq!(texts, [b"4", b"5", b"6", b"7"]);
        // Until somebody gives it what it lacks.
        let whole = nodes.servers[0].controller.publisher().history("kept/a").unwrap();
        assert_eq!(whole.messages.len(), 7);
        let publisher = nodes.servers[1].controller.publisher();
        assert!(publisher.seed_history("kept/a", &whole));
        assert!(!publisher.seed_history("other", &whole) && publisher.history("other").is_none());
        assert_eq!(publisher.history("kept/a").unwrap(), whole);
        let mut back = Client::connect(nodes.address(1));
        back.send_text(&format!("<kept/a {EPOCH} 1"));
        ["2", "3", "4", "5", "6", "7"].iter().for_each(|text| back.expect_text(text));
        back.expect_text("6 true");
        // Topics without a history go on as before.
        let mut plain = member(nodes.address(2), "+plain");
        nodes.publish(0, "plain", "hello");
        plain.expect_text("hello");
    });
}
