//! What a peer may subscribe to through a handler that does as it is told: each bound at its value
//! and one beyond. In memory, where a thousand subscriptions take no time.

use ringsock::testing::{MemoryConnection, MemoryServer};
use ringsock::topics::Subscribe;
use ringsock::{Conn, Handler, Limits, Message, Text};

use crate::client::{self, TEXT};
use crate::served::among_others;

/// Subscribes to what a message names, publishes `x` to it, and tells how many that reached, or the
/// reason for refusing.
struct Teller;

impl Handler for Teller {
    type State = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        let text = message.as_text().unwrap_or_default().to_owned();
        let (word, name) = text.split_once(' ').unwrap_or((&text, ""));
        let outcome = match word {
            "topic" => conn.subscribe_with(name, Subscribe::default()).map(drop),
            "pattern" => conn.subscribe_matching(name),
            _ => Ok(()),
        };
        let answer = match (word, outcome) {
            ("publish", _) => conn.publish(name, Text("x")).queued.to_string(),
            (_, Ok(())) => "yes".to_owned(),
            (_, Err(error)) => error.to_string(),
        };
        let _queued = conn.send(Text(answer));
    }
}

/// The answer to a message: the last frame, behind what was published to us.
fn ask(server: &mut MemoryServer<Teller>, peer: MemoryConnection, text: &str) -> String {
    server.receive(peer, &client::frame(true, TEXT, text.as_bytes(), 9));
    let sent = server.take_sent(peer);
    let mut rest = &sent[..];
    let mut answer = String::new();
    while let [0x81, length, payload @ ..] = rest {
        let (own, behind) = payload.split_at(usize::from(*length));
        let own = String::from_utf8(own.to_vec()).unwrap();
        (answer, rest) = (if own == "x" { answer } else { own }, behind);
    }
    assert_eq!(rest, b"", "text frames and no others");
    answer
}

#[test]
fn what_is_too_long_too_deep_or_too_much_is_refused_and_changes_nothing() {
    let _shared = among_others();
    let limits = Limits { patterns_max: 3, ..Limits::default() };
    let mut server = MemoryServer::new(limits.clone(), Teller).unwrap();
    let peer = server.connect_open();
    let mut ask = |text: &str| ask(&mut server, peer, text);
    let long = |bytes: usize| "t".repeat(bytes);
    assert_eq!(ask(&format!("topic {}", long(255))), "yes");
    assert_eq!(ask(&format!("publish {}", long(255))), "1");
    assert!(ask(&format!("topic {}", long(256))).contains("long"));
    assert_eq!(ask(&format!("publish {}", long(256))), "0");

    let deep = |levels: usize| vec!["*"; levels].join("/");
    let name = |levels: usize| vec!["a"; levels].join("/");
    assert_eq!(ask(&format!("pattern {}", deep(16))), "yes");
    assert_eq!(ask(&format!("publish {}", name(16))), "1");
    assert!(ask(&format!("pattern {}", deep(17))).contains("level"));
    assert_eq!(ask(&format!("publish {}", name(17))), "0");

    assert_eq!((ask("pattern a/*"), ask("pattern b/**")), ("yes".to_owned(), "yes".to_owned()));
    let refused = ask("pattern c/*");
    assert_ne!(refused, "yes", "the fourth of three patterns");
    assert_eq!((ask("publish b/x"), ask("publish c/x")), ("1".to_owned(), "0".to_owned()));

    // Four subscriptions there are already.
    for number in 4..1_024 {
        assert_eq!(ask(&format!("topic n{number}")), "yes", "{number}");
    }
    assert_ne!(ask("topic one-more"), "yes");
    assert_eq!((ask("publish n1023"), ask("publish one-more")), ("1".to_owned(), "0".to_owned()));
    assert_eq!(server.connections(), 1, "it may try again with something else");
}
