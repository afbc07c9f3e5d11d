//! What a server chose is told to the handler that opened the connection, before the opening.
//! Whether an answer is valid is not tested here.

use std::net::SocketAddr;
use std::sync::mpsc::{self, Sender};

use ringsock::client::{Outbound, OutboundRequest};
use ringsock::connection::ClientHandshake;
use ringsock::http::Request;
use ringsock::protocol::handshake::{ClientRequest, Negotiated, Status, WebSocketUrl};
use ringsock::{Conn, Cores, Driver, Handler, Message, Server, ServerBuilder, Upgrade};

use crate::client::PATIENCE;
use crate::served::{Served, for_each_driver};

/// Chooses `v2` on one path.
struct Chooser;

impl Handler for Chooser {
    type State = ();

    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<()> {
        let upgrade = Upgrade::accept(());
        if request.path() == "/choose" { upgrade.subprotocol("v2") } else { upgrade }
    }

    fn on_message(&mut self, _: &mut Conn<'_, ()>, _: Message<'_>) {}
}

/// What a connection has heard so far: nothing, or which subprotocol is spoken.
type Heard = Option<Option<String>>;

/// Opens a connection and tells at the opening what was heard before.
struct Asker {
    address: SocketAddr,
    path: &'static str,
    verifies: bool,
    told: Sender<Heard>,
}

impl Handler for Asker {
    type State = Heard;

    fn on_start(&mut self, outbound: &mut Outbound<Heard>) {
        let url = WebSocketUrl::parse(&format!("ws://{}{}", self.address, self.path)).unwrap();
        let mut request = ClientRequest::new(&url).unwrap();
        request.subprotocols = vec!["v1".to_owned(), "v2".to_owned()];
        let mut handshake = ClientHandshake::new(request).unwrap();
        if !self.verifies {
            handshake = handshake.without_verification();
        }
        outbound.connect(OutboundRequest { address: self.address, source: None, handshake }, None);
    }

    fn on_upgrade(&mut self, _: &Request<'_>) -> Upgrade<Heard> {
        Upgrade::reject(Status::NOT_FOUND, "nothing is served here")
    }

    fn on_negotiated(&mut self, state: &mut Heard, negotiated: &Negotiated) {
        *state = Some(negotiated.subprotocol.clone());
    }

    fn on_open(&mut self, conn: &mut Conn<'_, Heard>) {
        let _ = self.told.send(conn.state_mut().take());
    }

    fn on_message(&mut self, _: &mut Conn<'_, Heard>, _: Message<'_>) {}
}

fn builder(driver: Driver) -> ServerBuilder {
    Server::builder().cores(Cores::List(vec![0])).driver(driver)
}

#[test]
fn the_subprotocol_that_a_server_chose_is_told_before_the_opening() {
    for_each_driver(|driver| {
        let chooser = Served::start(driver, |_| Chooser);
        let address = chooser.address;
        for (path, verifies, due) in [
            ("/choose", true, Some(Some("v2".to_owned()))),
            ("/", true, Some(None)),
            ("/choose", false, None),
        ] {
            for has_routes in [false, true] {
                let (told, heard) = mpsc::channel();
                let ask = move |_| Asker { address, path, verifies, told: told.clone() };
                let running = match has_routes {
                    false => builder(driver).start(ask),
                    true => builder(driver).route("/asker", ask).start_routes(),
                };
                let asking = Served::adopt_any(running.expect("it starts without listening"));
                assert_eq!(heard.recv_timeout(PATIENCE), Ok(due.clone()), "{path} {has_routes}");
                asking.stop();
            }
        }
    });
}
