//! Listening sockets that other processes made: inherited from a service manager, handed over by a
//! predecessor. Both servers run in this process; that they may be two is tested with the binary.

use std::fs;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ringsock::{Cores, Driver, Limits, Result, Running, Server};
use rustix::process::Uid;
use rustix::thread::set_thread_res_uid;

use crate::client::Client;
use crate::process;
use crate::served::{Echo, Served, for_each_driver};

const PATIENCE: Duration = Duration::from_secs(10);

/// A path in a folder of its own, removed with it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str, driver: Driver) -> Self {
        let folder = format!("ringsock-{name}-{driver:?}-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        fs::create_dir_all(&folder).expect("a folder for the test");
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.join("handover.sock")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A server that offers its sockets at the place, and takes those that are offered there.
fn serve(driver: Driver, place: &Place, address: &str, window: Duration) -> Result<Running> {
    let limits = Limits { drain_window: window, ..Limits::default() };
    let server = Server::builder().cores(Cores::List(vec![0])).driver(driver).limits(limits);
    server.handover(place.path())?.listen(address)?.start(|_| Echo)
}

#[test]
fn inherited_sockets_serve_whether_few_or_many() {
    for_each_driver(|driver| {
        for (sockets, shards) in [(1, 2), (3, 1), (2, 2)] {
            let all: Vec<TcpListener> =
                (0..sockets).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
            let addresses: Vec<SocketAddr> =
                all.iter().map(|one| one.local_addr().unwrap()).collect();
            let cores = vec![0; shards];
            let server = Server::builder().cores(Cores::List(cores)).driver(driver);
            let server = server.inherit(all.into_iter().map(OwnedFd::from)).unwrap();
            let running = server.listen_inherited().unwrap().start(|_| Echo).unwrap();
            assert_eq!(running.addresses(), addresses);
            let server = Served::adopt(running);
            for address in addresses {
                for _ in 0..5 {
                    Client::connect(address).echo("inherited");
                }
            }
            server.stop();
        }
    });
}

#[test]
fn a_listener_that_does_not_accept_any_more_is_tried_again_and_not_all_the_time() {
    for_each_driver(|driver| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let other = socket2::Socket::from(listener.try_clone().unwrap());
        let server = Server::builder().cores(Cores::List(vec![0])).driver(driver);
        let server = server.inherit([OwnedFd::from(listener)]).unwrap();
        let server = Served::adopt(server.listen_inherited().unwrap().start(|_| Echo).unwrap());
        Client::connect(server.address).echo("before");
        // Whoever else has the socket spoils it for everybody.
        other.shutdown(std::net::Shutdown::Both).unwrap();
        let counters = || {
            let reports = server.controller.reports(PATIENCE, 0);
            reports[0].as_ref().expect("the shard turns").counters
        };
        process::wait_until(PATIENCE, "accepting fails", || counters().accept_backoffs > 0);
        let before = counters();
        thread::sleep(Duration::from_millis(500));
        let after = counters();
        assert!(after.accept_backoffs - before.accept_backoffs < 20, "{after:?}");
        assert!(after.turns - before.turns < 100, "{after:?}");
    });
}

#[test]
fn an_inherited_socket_outlives_a_server_that_drains() {
    for_each_driver(|driver| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let start = || {
            let server = Server::builder().cores(Cores::List(vec![0])).driver(driver);
            let copy = OwnedFd::from(listener.try_clone().unwrap());
            let server = server.inherit([copy]).unwrap().listen_inherited().unwrap();
            Served::adopt(server.start(|_| Echo).unwrap())
        };
        let server = start();
        Client::connect(server.address).echo("first");
        server.controller.drain();
        let address = server.address;
        server.join().unwrap();
        // Nobody serves, and still nobody is refused: the kernel keeps them for the next server.
        let waiting = TcpStream::connect(address).unwrap();
        let server = start();
        let mut client = Client::over(waiting);
        client.send_bytes(crate::client::upgrade_request("/", "").as_bytes());
        assert!(client.head().unwrap().starts_with("HTTP/1.1 101 "));
        client.echo("second");
        server.stop();
    });
}

#[test]
fn a_successor_takes_over_and_the_predecessor_drains() {
    for_each_driver(|driver| {
        let place = Place::new("succession", driver);
        let window = Duration::from_secs(1);
        let first = Served::adopt(serve(driver, &place, "127.0.0.1:0", window).unwrap());
        let address = first.address;
        let mut old = Client::connect(address);
        old.echo("before");
        // Accepted, but its request has not come yet: it is served all the same.
        let mut late = Client::raw(address);
        late.send_bytes(b"GET /");
        process::wait_until(PATIENCE, "both are accepted", || {
            first.controller.reports(PATIENCE, 0)[0].as_ref().unwrap().connections == 2
        });
        let second = serve(driver, &place, &address.to_string(), window).unwrap();
        let second = Served::adopt(second);
        process::wait_until(PATIENCE, "the predecessor drains", || first.controller.is_draining());
        let rest = crate::client::upgrade_request("/", "");
        late.send_bytes(&rest.as_bytes()[5..]);
        assert!(late.head().unwrap().starts_with("HTTP/1.1 101 "));
        late.echo("served by the predecessor");
        let mut new = Client::connect(address);
        new.echo("served by the successor");
        old.expect_closed_with(1001);
        late.expect_closed_with(1001);
        first.join().unwrap();
        new.echo("still served");
        second.stop();
        assert!(!place.path().exists(), "nothing is left behind");
        assert!(TcpStream::connect(address).is_err());
    });
}

#[test]
fn a_successor_that_fails_changes_nothing() {
    for_each_driver(|driver| {
        let place = Place::new("failure", driver);
        let window = Duration::from_millis(100);
        let first = Served::adopt(serve(driver, &place, "127.0.0.1:0", window).unwrap());
        let mut client = Client::connect(first.address);
        client.echo("before");
        let failing = Server::builder().cores(Cores::List(vec![4095]));
        let failing = failing.handover(place.path()).unwrap();
        failing.listen(&first.address.to_string()).unwrap().start(|_| Echo).unwrap_err();
        client.echo("after");
        Client::connect(first.address).echo("new");
        assert!(!first.controller.is_draining());
        first.stop();
    });
}

#[test]
fn a_stale_path_is_replaced_and_a_foreign_one_is_an_error() {
    for_each_driver(|driver| {
        let place = Place::new("stale", driver);
        drop(UnixListener::bind(place.path()).unwrap());
        let window = Duration::from_millis(100);
        Served::adopt(serve(driver, &place, "127.0.0.1:0", window).unwrap()).stop();
        // A stream socket, which none of ours is.
        let foreign = UnixListener::bind(place.path()).unwrap();
        let error = serve(driver, &place, "127.0.0.1:0", window).unwrap_err().to_string();
        assert!(error.contains("handover.sock"), "{error}");
        drop(foreign);
        let nowhere = Server::builder().handover("/nonexistent/handover.sock").unwrap();
        let started = nowhere.cores(Cores::List(vec![0])).driver(driver).start(|_| Echo);
        let error = started.unwrap_err().to_string();
        assert!(error.contains("/nonexistent/handover.sock"), "{error}");
    });
}

/// Runs `work` on a thread that belongs to another user, as only root can.
fn as_another_user<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let nobody = Uid::from_raw(65_534);
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            set_thread_res_uid(nobody, nobody, nobody).expect("root may be anybody");
            work()
        });
        thread.join().expect("it has ended")
    })
}

#[test]
fn nothing_is_taken_over_from_another_user_and_nothing_handed_to_one() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not tested: only root can be two users");
        return;
    }
    for_each_driver(|driver| {
        let place = Place::new("user", driver);
        fs::set_permissions(&place.0, fs::Permissions::from_mode(0o777)).unwrap();
        let window = Duration::from_millis(100);
        let foreign = || serve(driver, &place, "127.0.0.1:0", window);
        let foreign = Served::adopt(as_another_user(foreign).unwrap());
        let address = foreign.address.to_string();
        let error = serve(driver, &place, &address, window).unwrap_err().to_string();
        assert!(error.contains("user 65534") && error.contains("handover.sock"), "{error}");
        Client::connect(foreign.address).echo("not disturbed");
        assert!(!foreign.controller.is_draining());
        foreign.stop();
        let own = Served::adopt(serve(driver, &place, "127.0.0.1:0", window).unwrap());
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let error = as_another_user(|| serve(driver, &place, "127.0.0.1:0", window)).unwrap_err();
        assert!(error.to_string().contains("must be the same user"), "{error}");
        Client::connect(own.address).echo("not disturbed");
        assert!(!own.controller.is_draining());
        own.stop();
    });
}

/// Connects, completes a handshake and leaves, until told to end; how many did.
fn churn(address: SocketAddr, over: &AtomicBool) -> usize {
    let mut served = 0;
    while !over.load(Ordering::Relaxed) {
        let mut client = Client::connect(address);
        client.echo("short");
        client.send_close(1000, "");
        client.expect_closed_with(1000);
        let mut end = [0; 1];
        assert_eq!(client.stream.read(&mut end).unwrap_or(0), 0);
        served += 1;
    }
    served
}

#[test]
fn nobody_is_refused_or_reset_however_often_servers_succeed_each_other() {
    for_each_driver(|driver| {
        let place = Place::new("churn", driver);
        let window = Duration::from_secs(1);
        let mut servers =
            vec![Served::adopt(serve(driver, &place, "127.0.0.1:0", window).unwrap())];
        let address = servers[0].address;
        let over = Arc::new(AtomicBool::new(false));
        let clients = (0..4).map(|_| {
            let over = Arc::clone(&over);
            thread::spawn(move || churn(address, &over))
        });
        let clients: Vec<_> = clients.collect();
        for _ in 0..5 {
            thread::sleep(Duration::from_millis(50));
            let next = serve(driver, &place, &address.to_string(), window).unwrap();
            servers.push(Served::adopt(next));
        }
        thread::sleep(Duration::from_millis(50));
        over.store(true, Ordering::Relaxed);
        for client in clients {
            assert!(client.join().expect("nobody was refused or reset") > 0);
        }
        servers.pop().unwrap().stop();
        for server in servers {
            server.join().expect("each predecessor ends by itself");
        }
    });
}
