//! Publishing to topics that nobody is subscribed to: what it costs to find that out.
//!
//! Each topic is published to once in a turn, as when each of many topics has its own event.

use std::hint::black_box;

use ringsock::protocol::{Encoder, Opcode, Role};
use ringsock::testing::MemoryServer;
use ringsock::topics::{Publisher, SlowPolicy, TopicOptions};
use ringsock::{Binary, Conn, Driver, Handler, Limits, Message, Server};

use super::{Pass, Work};

/// Topics, enough that what the turn costs besides does not show.
const TOPICS: u64 = 1024;
const PAYLOAD: Binary<[u8; 20]> = Binary([7; 20]);

pub(super) fn all() -> impl Iterator<Item = Work> {
    let cases = [
        ("no topics", Others::Nobody),
        ("other topics", Others::OtherTopics),
        ("a pattern", Others::Pattern),
    ];
    let by_handler = cases.into_iter().map(|(case, others)| {
        Work::new(format!("publish to nobody/{case}"), TOPICS, None, move || by_handler(others))
    });
    by_handler.chain([Work::new("publish to nobody/topic rules", TOPICS, None, by_rules)])
}

/// What another connection is subscribed to.
#[derive(Clone, Copy)]
enum Others {
    Nobody,
    OtherTopics,
    Pattern,
}

struct Crier {
    topics: Vec<String>,
    others: Others,
}

impl Handler for Crier {
    type State = ();

    fn on_open(&mut self, conn: &mut Conn<'_, ()>) {
        match self.others {
            Others::Nobody => {}
            Others::OtherTopics => {
                assert!((0..10).all(|number| conn.subscribe(&format!("room/{number}"))));
            }
            Others::Pattern => assert_eq!(conn.subscribe_matching("room/**"), Ok(())),
        }
    }

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, _: Message<'_>) {
        for topic in &self.topics {
            assert_eq!(conn.publish(black_box(topic), PAYLOAD).queued, 0);
        }
    }
}

fn topics() -> Vec<String> {
    (0..TOPICS).map(|number| format!("price/{number:04}")).collect()
}

/// A message makes the handler publish to all topics, in one turn of a server in memory.
fn by_handler(others: Others) -> Pass {
    // A machine without a descriptor to spare measures nothing.
    let handler = Crier { topics: topics(), others };
    let mut server = MemoryServer::new(Limits::default(), handler).expect("a file descriptor");
    let peer = server.connect_open();
    let mut frame = Vec::new();
    Encoder::new(Role::Client).frame(&mut frame, Opcode::Binary, true, &[], &mut || [7; 4]);
    Box::new(move || server.receive(peer, black_box(&frame)))
}

/// Topics have rules only on a server that was built with them; what it shares with other threads
/// lives on when it has ended.
fn by_rules() -> Pass {
    let topics = topics();
    let publisher = publisher_with_rules().expect("a server on loopback");
    Box::new(move || {
        for topic in &topics {
            assert_eq!(publisher.publish(black_box(topic), PAYLOAD).queued, 0);
        }
    })
}

fn publisher_with_rules() -> ringsock::Result<Publisher> {
    let latest = TopicOptions { slow: SlowPolicy::Latest, ..TopicOptions::default() };
    let kept = TopicOptions { history_messages: 100, ..TopicOptions::default() };
    let server = Server::builder()
        .cores("0".parse().unwrap_or_default())
        .driver(Driver::Epoll)
        .listen("127.0.0.1:0")?
        .topics("price/**", latest)
        .topics("room/*", kept)
        .start(|_| Crier { topics: Vec::new(), others: Others::Nobody })?;
    let publisher = server.publisher();
    server.controller().stop();
    server.join()?;
    Ok(publisher)
}
