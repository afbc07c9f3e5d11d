//! The table of bad inputs and their answers, run against the engine in memory and over sockets.
//! The tables are data (`*.toml`); `row` is their notation. Nothing here knows the engine's inside
//! except `memory`, which drives its connections.
//!
//! A server outside this process is tested with `RINGSOCK_WIRE_SERVER=127.0.0.1:9001`: it must echo
//! and have the default limits. If its handshake, assembly, close and linger timeouts were all
//! shortened to N milliseconds, `RINGSOCK_WIRE_DEADLINE_MS=N` runs the rows that wait for them.
#![forbid(unsafe_code)]

mod answer;
#[path = "../support/certificate.rs"]
mod certificate;
mod client;
mod compose;
mod memory;
mod outbound;
mod row;
mod runner;
mod secured;
mod served;
mod socket;
mod split;
mod subject;
mod verdict;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use client::ClientRow;
use ringsock::Driver;
use row::{Deadline, Elsewhere, Row};
use served::{Buffers, Deadlines, Served, Transport};
use subject::{Effort, Link, Received, Subject};

/// The tables for servers.
const TABLES: [(&str, &str); 8] = [
    ("request.toml", include_str!("request.toml")),
    ("upgrade.toml", include_str!("upgrade.toml")),
    ("frames.toml", include_str!("frames.toml")),
    ("messages.toml", include_str!("messages.toml")),
    ("closing.toml", include_str!("closing.toml")),
    ("deflate.toml", include_str!("deflate.toml")),
    ("deadlines.toml", include_str!("deadlines.toml")),
    ("elsewhere.toml", include_str!("elsewhere.toml")),
];

fn server_rows() -> (Vec<Row>, Vec<Elsewhere>) {
    let mut rows = Vec::new();
    let mut elsewhere = Vec::new();
    for (file, text) in TABLES {
        let (more_rows, more_elsewhere) =
            row::read(text).unwrap_or_else(|error| panic!("{file}: {error}"));
        rows.extend(more_rows);
        elsewhere.extend(more_elsewhere);
    }
    (rows, elsewhere)
}

/// For ports that speak TLS.
fn tls_rows() -> Vec<Row> {
    let (rows, elsewhere) =
        row::read(include_str!("tls.toml")).unwrap_or_else(|error| panic!("tls.toml: {error}"));
    assert!(elsewhere.is_empty(), "elsewhere.toml is for that");
    rows
}

fn client_rows() -> Vec<ClientRow> {
    let (rows, elsewhere) =
        row::read(include_str!("client.toml")).unwrap_or_else(|error| panic!("{error}"));
    assert!(elsewhere.is_empty(), "client rows are not left to others");
    rows
}

#[test]
fn bad_input_is_answered_as_listed_in_memory() {
    runner::run(&memory::Servers::default(), &server_rows().0).conclude("in memory");
}

/// Runs the rows that wait for deadlines against a server whose deadlines are short, all others
/// against one with the usual limits.
fn check_over_sockets(
    driver: Driver,
    transport: Transport,
    buffers: Buffers,
    deadlines: Deadlines,
) {
    let served = Served::start(driver, transport, buffers, deadlines);
    let waits = deadlines == Deadlines::Short;
    let rows: Vec<_> = server_rows().0.into_iter().filter(|row| row.slow == waits).collect();
    let title = format!("{driver:?}, {transport:?}, {buffers:?} buffers, {deadlines:?} deadlines");
    runner::run_side_by_side(&*served.server, &rows).conclude(&title);
}

/// The same over the ring, unless this machine does not let processes use io_uring: containers
/// often do not, and the engine then runs on epoll, which has its own tests.
fn check_over_the_ring(transport: Transport, buffers: Buffers, deadlines: Deadlines) {
    match ringsock::server::probe_ring() {
        Ok(()) => check_over_sockets(Driver::Ring, transport, buffers, deadlines),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "the ring is not tested: {error}");
        }
    }
}

#[test]
fn bad_input_is_answered_as_listed_over_epoll() {
    check_over_sockets(Driver::Epoll, Transport::Plain, Buffers::Usual, Deadlines::Usual);
}

#[test]
fn bad_input_is_answered_as_listed_over_epoll_with_tiny_buffers() {
    check_over_sockets(Driver::Epoll, Transport::Plain, Buffers::Tiny, Deadlines::Usual);
}

#[test]
fn slow_peers_are_answered_as_listed_over_epoll() {
    check_over_sockets(Driver::Epoll, Transport::Plain, Buffers::Usual, Deadlines::Short);
}

#[test]
fn bad_input_is_answered_as_listed_over_the_ring() {
    check_over_the_ring(Transport::Plain, Buffers::Usual, Deadlines::Usual);
}

#[test]
fn bad_input_is_answered_as_listed_over_the_ring_with_tiny_buffers() {
    check_over_the_ring(Transport::Plain, Buffers::Tiny, Deadlines::Usual);
}

#[test]
fn bad_input_is_answered_as_listed_over_the_ring_without_multishot_operations() {
    check_over_the_ring(Transport::Plain, Buffers::OneShot, Deadlines::Usual);
}

#[test]
fn slow_peers_are_answered_as_listed_over_the_ring() {
    check_over_the_ring(Transport::Plain, Buffers::Usual, Deadlines::Short);
}

#[test]
fn bad_input_is_answered_as_listed_over_tls_on_epoll() {
    check_over_sockets(Driver::Epoll, Transport::Tls, Buffers::Usual, Deadlines::Usual);
}

#[test]
fn bad_input_is_answered_as_listed_over_tls_on_the_ring() {
    check_over_the_ring(Transport::Tls, Buffers::Usual, Deadlines::Usual);
}

#[test]
fn bad_input_is_answered_as_listed_over_tls_with_tiny_buffers() {
    check_over_sockets(Driver::Epoll, Transport::Tls, Buffers::Tiny, Deadlines::Usual);
    check_over_the_ring(Transport::Tls, Buffers::Tiny, Deadlines::Usual);
}

#[test]
fn slow_peers_are_answered_as_listed_over_tls() {
    check_over_sockets(Driver::Epoll, Transport::Tls, Buffers::Usual, Deadlines::Short);
    check_over_the_ring(Transport::Tls, Buffers::Usual, Deadlines::Short);
}

#[test]
fn bad_input_on_a_port_for_tls_is_answered_as_listed() {
    let certificate = certificate::Certificate::issue();
    let rows = tls_rows();
    runner::run(&memory::Servers::speaking(certificate.tls()), &rows).conclude("TLS in memory");
    for driver in [Driver::Epoll, Driver::Ring] {
        if driver == Driver::Ring && ringsock::server::probe_ring().is_err() {
            continue;
        }
        for buffers in [Buffers::Usual, Buffers::Tiny] {
            let served = Served::start(driver, Transport::RawTls, buffers, Deadlines::Usual);
            let title = format!("TLS on {driver:?}, {buffers:?} buffers");
            runner::run_side_by_side(&*served.server, &rows).conclude(&title);
        }
    }
}

#[test]
#[ignore = "needs an echo server: RINGSOCK_WIRE_SERVER=127.0.0.1:9001"]
fn bad_input_is_answered_as_listed_by_the_server_at_an_address() {
    let address = std::env::var("RINGSOCK_WIRE_SERVER").expect("RINGSOCK_WIRE_SERVER is set");
    let address = address.parse().expect("RINGSOCK_WIRE_SERVER is an address and a port");
    let deadline = std::env::var("RINGSOCK_WIRE_DEADLINE_MS").ok().map(|milliseconds| {
        Duration::from_millis(milliseconds.parse().expect("RINGSOCK_WIRE_DEADLINE_MS is a number"))
    });
    let rows = server_rows().0.into_iter().filter(|row| row.slow == deadline.is_some());
    let server = socket::Server { address, deadline, effort: Effort::All };
    runner::run_side_by_side(&server, &rows.collect::<Vec<_>>())
        .conclude(&format!("server at {address}"));
}

#[test]
fn bad_servers_are_refused_as_listed_by_clients_in_memory() {
    let rows = client_rows();
    let (runs, failures) = client::run(&rows);
    runner::announce("clients in memory", rows.len(), runs, failures.len(), 0);
    assert!(runs > 0, "no row was run");
    assert!(failures.is_empty(), "{} rows failed:\n{}", failures.len(), failures.join("\n"));
}

/// The same over sockets.
fn check_clients_over_sockets(driver: Driver, transport: Transport) {
    if driver == Driver::Ring
        && let Err(error) = ringsock::server::probe_ring()
    {
        let _ = writeln!(std::io::stderr(), "the ring is not tested: {error}");
        return;
    }
    let rows = client_rows();
    let (runs, failures) = outbound::run(&rows, driver, transport);
    let title = format!("clients, {driver:?}, {transport:?}");
    runner::announce(&title, rows.len(), runs, failures.len(), 0);
    assert!(runs > rows.len(), "every row in several ways");
    assert!(failures.is_empty(), "{} runs failed:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn bad_servers_are_refused_as_listed_by_clients_over_the_ring() {
    check_clients_over_sockets(Driver::Ring, Transport::Plain);
}

#[test]
fn bad_servers_are_refused_as_listed_by_clients_over_epoll() {
    check_clients_over_sockets(Driver::Epoll, Transport::Plain);
}

#[test]
fn bad_servers_are_refused_as_listed_by_clients_over_tls() {
    check_clients_over_sockets(Driver::Ring, Transport::Tls);
    check_clients_over_sockets(Driver::Epoll, Transport::Tls);
}

#[test]
fn every_row_has_its_own_id_and_says_why() {
    let mut rows = server_rows().0;
    rows.extend(tls_rows());
    let clients = client_rows();
    let server_texts = rows.iter().map(|row| (&row.id, &row.name, &row.rfc));
    let client_texts = clients.iter().map(|row| (&row.id, &row.name, &row.rfc));
    let mut ids = BTreeSet::new();
    for (id, name, rfc) in server_texts.chain(client_texts) {
        assert!(ids.insert(id), "two rows have the id {id}");
        assert!(name.contains(' ') && !name.contains("$each"), "{id} has no name: {name:?}");
        assert!(rfc.contains('§'), "{id} names no section: {rfc:?}");
    }
}

/// Inputs of the catalogue.
const INPUTS: std::ops::RangeInclusive<u32> = 1..=82;
/// What there is nothing to test of: the bridge is not built.
const NOT_BUILT: [&str; 1] = ["B81"];

/// Whether there is a test of this name: `behaviour::routes::name` in the tests, else in the
/// sources.
fn is_test(name: &str) -> bool {
    let mut place: Vec<&str> = name.split("::").collect();
    let function = place.pop().unwrap_or_default();
    let folder = if place.first() == Some(&"behaviour") { "tests" } else { "src" };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let file = root.join(place.join("/")).with_extension("rs");
    // A module of tests may stand in the file of what it tests.
    let above = root.join(place[..place.len().saturating_sub(1)].join("/")).with_extension("rs");
    let text =
        fs::read_to_string(&file).or_else(|_| fs::read_to_string(&above)).unwrap_or_default();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let head = format!("fn {function}() {{");
    lines.windows(2).any(|pair| pair[0] == "#[test]" && pair[1] == head)
}

#[test]
fn every_input_of_the_catalogue_has_a_row_or_names_its_tests() {
    let (rows, elsewhere) = server_rows();
    let number = |id: &str| -> Option<u32> {
        let digits: String =
            id.strip_prefix('B')?.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    let mut covered: BTreeSet<u32> = rows.iter().filter_map(|row| number(&row.id)).collect();
    for left in &elsewhere {
        assert!(left.needs.contains(' '), "{} does not say what it needs", left.id);
        let tests = left.test.as_slice();
        assert_eq!(tests.is_empty(), NOT_BUILT.contains(&left.id.as_str()), "{}", left.id);
        let missing = tests.iter().find(|test| !is_test(test));
        assert!(missing.is_none(), "{} names a test that is not there: {missing:?}", left.id);
        let left = number(&left.id).expect("an id of the catalogue");
        assert!(covered.insert(left), "B{left} has a row and is left to others");
    }
    let missing: Vec<_> = INPUTS.filter(|number| !covered.contains(number)).collect();
    assert!(missing.is_empty(), "no row and no reason for {missing:?}");
    assert!(!is_test("behaviour::routes::none") && !is_test("none::none") && !is_test(""));
}

/// A server that accepts every connection and never answers.
struct Mute;

impl Link for Mute {
    fn send(&mut self, _segment: &[u8]) {}
    fn settle(&mut self) {}
    fn finish_sending(&mut self) {}
    fn reset(&mut self) {}
    fn advance(&mut self, _time: Duration) {}
    fn receive(&mut self, _patience: Duration) -> Received {
        Received::Nothing
    }
    fn is_gone(&mut self) -> bool {
        false
    }
    fn application_close_code(&self) -> Option<u16> {
        None
    }
}

impl Subject for Mute {
    fn connect(&self) -> Box<dyn Link + '_> {
        Box::new(Self)
    }
    fn effort(&self) -> Effort {
        Effort::Few
    }
    fn deadline(&self, _deadline: Deadline) -> Option<Duration> {
        Some(Duration::ZERO)
    }
    fn patience(&self) -> Duration {
        Duration::ZERO
    }
}

#[test]
fn every_row_fails_against_a_server_that_never_answers() {
    let mut rows = server_rows().0;
    rows.extend(tls_rows());
    let report = runner::run(&Mute, &rows);
    assert_eq!(report.rows, rows.len());
    assert_eq!(report.failures.len(), rows.len());
}
