//! What cannot be started says so in one line, names what is wrong, and leaves nothing running.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use ringsock::http::Page;
use ringsock::topics::TopicOptions;
use ringsock::{Cores, Limits, Result, Running, Server, ServerBuilder, SetupError};
use socket2::{Domain, Socket, Type};

use crate::client::Client;
use crate::process;
use crate::served::{Echo, Served, alone_for_each_driver, for_each_driver};

/// The error's one line, which must contain each of `parts`.
fn check<T>(outcome: Result<T>, parts: &[&str]) {
    let error = outcome.err().expect("this cannot be set up");
    let text = error.to_string();
    assert!(!text.contains('\n'), "{text}");
    for part in parts {
        assert!(text.contains(part), "'{part}' is not in: {text}");
    }
    // A `main` that returns the error prints this.
    assert_eq!(format!("{error:?}"), text);
}

fn server() -> ServerBuilder {
    Server::builder().listen("127.0.0.1:0").expect("a free port").cores(Cores::List(vec![0]))
}

#[test]
fn an_address_that_is_none_is_shown_with_an_example() {
    for bad in ["", "localhost", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "[::1:80"] {
        let quoted = format!("'{bad}'");
        check(Server::builder().listen(bad), &[&quoted, "HOST:PORT", "127.0.0.1:9001"]);
    }
}

#[test]
fn an_address_of_another_machine_is_refused() {
    // Reserved for documentation (RFC 5737).
    check(Server::builder().listen("192.0.2.1:9001"), &["192.0.2.1:9001", "no interface"]);
}

#[test]
fn a_port_that_is_taken_is_named() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    check(Server::builder().listen(&address), &[&address, "another program listens there"]);
    drop(holder);
    let _free = Server::builder().listen(&address).expect("now it is free");
}

#[test]
fn a_port_whose_holder_would_share_it_is_taken_all_the_same() {
    let holder = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    holder.set_reuse_port(true).unwrap();
    holder.set_reuse_address(true).unwrap();
    holder.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    holder.listen(5).unwrap();
    let address = holder.local_addr().unwrap().as_socket().unwrap().to_string();
    check(Server::builder().listen(&address), &[&address, "another program listens there"]);
}

#[test]
fn two_servers_do_not_share_a_port_by_accident() {
    for_each_driver(|driver| {
        let first = Served::start(driver, |_| Echo);
        let address = first.address.to_string();
        check(Server::builder().listen(&address), &[&address, "another program listens there"]);
        first.stop();
        let second = Server::builder().listen(&address).expect("it is free at once");
        let second = second.cores(Cores::List(vec![0])).driver(driver).start(|_| Echo);
        let second = Served::adopt(second.unwrap());
        Client::connect(second.address).echo("same port");
    });
}

#[test]
fn topics_that_cannot_work_are_named_with_their_pattern() {
    for_each_driver(|driver| {
        let options = TopicOptions { backlog_bytes: 0, ..TopicOptions::default() };
        let started =
            |pattern, options| server().driver(driver).topics(pattern, options).start(|_| Echo);
        check(started("price/*", options), &["price/*", "backlog_bytes is 0"]);
        check(started("a/**/b", TopicOptions::default()), &["a/**/b", "last level"]);
    });
}

#[test]
fn a_core_that_does_not_exist_is_named_with_those_that_do() {
    for_each_driver(|driver| {
        let outcome = server().driver(driver).cores(Cores::List(vec![0, 4095])).start(|_| Echo);
        check(outcome, &["core 4095", "available: [0"]);
    });
}

#[test]
fn a_list_of_no_cores_is_refused() {
    for_each_driver(|driver| {
        check(server().driver(driver).cores(Cores::List(vec![])).start(|_| Echo), &["core"]);
    });
}

#[test]
fn limits_that_cannot_work_are_named_with_their_range() {
    let zero = Limits { message_bytes_max: 0, ..Limits::default() };
    check(server().limits(zero).start(|_| Echo), &["message_bytes_max is 0", "from 1 to"]);
    let never = Limits { ping_interval: Duration::ZERO, ..Limits::default() };
    check(server().limits(never).start(|_| Echo), &["ping_interval", "above zero"]);
    let ages = Limits { close_timeout: Duration::from_secs(100_000), ..Limits::default() };
    check(server().limits(ages).start(|_| Echo), &["close_timeout", "within a day"]);
}

#[test]
fn a_path_that_cannot_be_a_route_is_named() {
    let routed = |path: &str| server().route(path, |_| Echo).start_routes();
    check(routed("chat"), &["'chat'", "does not begin with /"]);
    check(routed("/a/{"), &["'/a/{'", "/a/{parameter}"]);
    let twice = server().route("/a/{b}", |_| Echo).route("/a/{c}", |_| Echo);
    check(twice.start_routes(), &["'/a/{c}'", "each once"]);
    let policy = |_: &ringsock::http::Request<'_>| Ok(());
    check(server().policy_at("x", policy).start(|_| Echo), &["'x'", "does not begin with /"]);
    for (path, reason) in [
        ("/a%20b", "has an escape"),
        ("/a//b", "two slashes"),
        ("/a/../b", ". or .. segment"),
        ("/a?b", "a ? or a #"),
    ] {
        check(routed(path), &[&format!("'{path}'"), reason]);
        check(server().page(path, Page::text("x")).start(|_| Echo), &[path, reason]);
        check(server().health(path).start(|_| Echo), &[path, reason]);
        check(server().policy_at(path, policy).start(|_| Echo), &[path, reason]);
    }
}

#[test]
fn a_server_without_an_address_is_refused() {
    check(Server::builder().serve(|_| Echo), &["listen(\"127.0.0.1:9001\")"]);
}

/// Starts two shards whose factory fails on the second.
fn start_half(driver: ringsock::Driver, panics_on: usize) -> Result<Running> {
    let server = Server::builder().listen("127.0.0.1:0").expect("a free port").driver(driver);
    // Both on the same core, so that a machine with one core will do.
    server.cores(Cores::List(vec![0, 0])).start(move |info| {
        assert_ne!(info.shard, panics_on, "as the test wants");
        Echo
    })
}

#[test]
fn a_factory_that_panics_is_an_error_and_stops_the_other_shards() {
    alone_for_each_driver(|driver| {
        let descriptors = process::descriptors();
        for panics_on in [0, 1] {
            let error = start_half(driver, panics_on).expect_err("one shard has no handler");
            check::<()>(Err(error), &["could not start", "panicked"]);
            process::wait_until(Duration::from_secs(5), "both shards have ended", || {
                process::shard_threads() == 0 && process::descriptors() == descriptors
            });
        }
    });
}

#[test]
fn the_number_of_connections_is_fitted_to_the_descriptors_there_are() {
    alone_for_each_driver(|driver| {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let before = getrlimit(Resource::Nofile);
        let few = Rlimit { current: Some(256), maximum: before.maximum };
        setrlimit(Resource::Nofile, few).unwrap();
        let running = server().driver(driver).start(|_| Echo).unwrap();
        // What the system allows at most is asked for, because only few know that they must.
        assert_eq!(getrlimit(Resource::Nofile).current, before.maximum);
        setrlimit(Resource::Nofile, before).unwrap();
        Served::adopt(running).stop();
    });
}

#[test]
fn errors_are_errors_for_those_who_pass_them_on() {
    let error: Box<dyn std::error::Error + Send + Sync> = Box::new(SetupError::NoListener);
    assert!(error.to_string().contains("nothing to listen on"));
}
