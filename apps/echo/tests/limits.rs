//! The longest message comes back whole, with each driver.

use ringsock::client::block_on;
use ringsock::protocol::MessageKind;
use ringsock::{Binary, Client, Cores, Driver, Limits, Running, Server};

const MESSAGE_BYTES_MAX: usize = 64 << 20;

fn serve(driver: Driver) -> Running {
    let server = ringsock_echo::configure(Server::builder()).cores(Cores::List(vec![0]));
    let server = server.driver(driver).listen("127.0.0.1:0").expect("a free port");
    server.start(|_| ringsock_echo::Echo).expect("it starts")
}

fn check(driver: Driver) {
    let running = serve(driver);
    let url = format!("ws://{}/", running.addresses()[0]);
    // The client's own limits must hold what it is to send and receive.
    let limits = Limits { message_bytes_max: 2 * MESSAGE_BYTES_MAX, ..ringsock_echo::limits() };
    block_on(async {
        let client = Client::new(&url).limits(limits);
        let mut socket = client.connect().await.expect("it connects");
        let payload: Vec<u8> = (0..MESSAGE_BYTES_MAX).map(|byte| (byte / 7) as u8).collect();
        socket.send(Binary(&payload)).await.expect("it is sent");
        let echo = socket.next().await.expect("it comes back").expect("it is no end");
        assert_eq!(echo.kind(), MessageKind::Binary);
        assert!(echo.bytes() == payload, "{} bytes came back", echo.bytes().len());
    });
    running.controller().stop();
    running.join().expect("it ends without an error");
}

#[test]
fn the_longest_message_comes_back_over_the_ring() {
    match ringsock::server::probe_ring() {
        Ok(()) => check(Driver::Ring),
        Err(error) => eprintln!("the ring is not tested: {error}"),
    }
}

#[test]
fn the_longest_message_comes_back_over_epoll() {
    check(Driver::Epoll);
}
