//! The `ringsock` binary as people and service managers meet it: what it says, how it exits.

mod configuration;
mod operation;
mod place;
mod program;
mod seccomp;
mod tls;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use program::{Serving, echo, failure, finish, request, ringsock, ringsock_with};
use seccomp::with_io_uring_refused;

/// An echo server on a free port, with these further arguments.
fn on_free_port<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&["echo", "--listen", "127.0.0.1:0", "--cores", "0"], arguments].concat()
}

#[test]
fn what_is_not_understood_is_named() {
    let cases = [
        (vec!["echo", "--lisen", "127.0.0.1:0"], "--lisen"),
        (vec!["ecko"], "ecko"),
        (vec!["echo", "--driver", "kqueue"], "kqueue"),
        (vec!["echo", "--cores", "one"], "one"),
        (vec!["echo", "--cores", "3-1"], "3-1"),
        (vec!["echo", "--listen"], "--listen"),
        (vec!["echo", "surplus"], "surplus"),
    ];
    for (arguments, named) in cases {
        let line = failure(ringsock(&arguments));
        assert!(line.contains(named), "{line}");
        assert!(line.contains("--help"), "{line}");
    }
}

#[test]
fn an_address_that_cannot_be_used_is_named() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = holder.local_addr().expect("its address").to_string();
    for (address, hint) in [
        ("127.0.0.1", "HOST:PORT"),
        ("nonsense", "HOST:PORT"),
        ("192.0.2.1:9001", "no interface"),
        (taken.as_str(), "another program listens there"),
    ] {
        let line = failure(ringsock(&["echo", "--listen", address]));
        assert!(line.contains(address) && line.contains(hint), "{line}");
    }
}

#[test]
fn a_core_that_does_not_exist_is_named() {
    let line = failure(ringsock(&["echo", "--listen", "127.0.0.1:0", "--cores", "0,4095"]));
    assert!(line.contains("core 4095") && line.contains("available"), "{line}");
}

#[test]
fn too_few_file_descriptors_are_counted_and_the_remedy_named() {
    let line = failure(ringsock_with("ulimit -n 20", &on_free_port(&[])));
    assert!(line.contains("20 files") && line.contains("ulimit -n"), "{line}");
}

#[test]
fn no_arguments_show_what_there_is() {
    let output = finish(ringsock(&[]));
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(text.contains("Usage: ringsock") && text.contains("echo"), "{text}");
}

#[test]
fn help_mentions_every_command_and_flag() {
    let output = finish(ringsock(&["--help"]));
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    for command in
        ["echo", "serve", "check-config", "print-config", "probe", "--version", "SIGHUP", "SIGUSR2"]
    {
        assert!(text.contains(command), "{command} is not in {text}");
    }
    let output = finish(ringsock(&["echo", "--help"]));
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    for flag in [
        "--listen",
        "--cores",
        "--driver",
        "127.0.0.1:9001",
        "auto",
        "ring",
        "epoll",
        "--config",
        "--admin",
        "--handover",
        "--log-level",
        "--log-format",
        "--set",
        "RINGSOCK_CONFIG",
    ] {
        assert!(text.contains(flag), "{flag} is not in {text}");
    }
    assert!(!text.contains("test-tiny-buffers"), "{text}");
}

#[test]
fn the_version_is_told() {
    let output = finish(ringsock(&["--version"]));
    assert_eq!(output.status.code(), Some(0));
    let expected = format!("ringsock {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8(output.stdout).expect("UTF-8"), expected);
}

#[test]
fn the_probe_says_which_driver_there_will_be() {
    for errno in [libc::EPERM, libc::ENOSYS] {
        let output = with_io_uring_refused(errno, || finish(ringsock(&["probe"])));
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        assert!(text.contains("io_uring does not work here"), "{text}");
        assert!(text.contains("driver auto uses: epoll"), "{text}");
    }
    let output = finish(ringsock(&["probe"]));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    match output.status.code() {
        Some(0) => assert!(text.contains("driver auto uses: ring"), "{text}"),
        code => assert!(code == Some(1) && text.contains("does not work here"), "{text}"),
    }
}

#[test]
fn without_io_uring_it_serves_on_epoll_and_says_so() {
    for errno in [libc::EPERM, libc::ENOSYS] {
        let server = with_io_uring_refused(errno, || Serving::start(ringsock(&on_free_port(&[]))));
        assert!(server.greeting.contains("using epoll"), "{}", server.greeting);
        echo(&mut server.connect(), "served all the same");
    }
}

#[test]
fn the_ring_demanded_and_refused_is_an_error() {
    for errno in [libc::EPERM, libc::ENOSYS] {
        let arguments = on_free_port(&["--driver", "ring"]);
        let line = with_io_uring_refused(errno, || failure(ringsock(&arguments)));
        assert!(line.contains("io_uring does not work here"), "{line}");
        assert!(line.contains("use the epoll driver"), "{line}");
    }
}

#[test]
fn a_shortage_is_not_answered_with_another_driver() {
    for errno in [libc::ENOMEM, libc::EMFILE] {
        let line = with_io_uring_refused(errno, || failure(ringsock(&on_free_port(&[]))));
        assert!(line.contains("setting up a ring"), "{line}");
    }
}

/// Reads until the end of the connection and expects a Close frame with 1001.
fn expect_going_away(stream: &mut std::net::TcpStream) {
    let mut header = [0; 4];
    stream.read_exact(&mut header).expect("a Close frame");
    assert_eq!(header[0], 0x88);
    assert_eq!(u16::from_be_bytes([header[2], header[3]]), 1001);
    let mut reason = vec![0; usize::from(header[1]) - 2];
    stream.read_exact(&mut reason).expect("its reason");
}

#[test]
fn a_signal_drains_and_the_exit_code_is_zero() {
    for (driver, signal) in [("auto", "TERM"), ("epoll", "INT")] {
        let server = Serving::start(ringsock(&on_free_port(&["--driver", driver])));
        let mut stream = server.connect();
        echo(&mut stream, "before");
        server.signal(signal);
        expect_going_away(&mut stream);
        stream.write_all(&[0x88, 0x82, 0, 0, 0, 0, 3, 0xe9]).expect("the answer can be sent");
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).expect("the end");
        assert_eq!(rest, b"");
        let (code, log) = server.wait();
        assert_eq!(code, Some(0), "{log}");
        assert!(log.contains("draining"), "{log}");
    }
}

#[test]
fn a_second_signal_does_not_wait_for_peers() {
    for driver in ["auto", "epoll"] {
        let server = Serving::start(ringsock(&on_free_port(&["--driver", driver])));
        let mut stream = server.connect();
        server.signal("TERM");
        expect_going_away(&mut stream);
        let started = Instant::now();
        server.signal("TERM");
        let (code, log) = server.wait();
        assert_eq!(code, Some(0), "{log}");
        // Without the second it would wait five seconds for the peer's Close frame.
        assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    }
}

#[test]
fn several_addresses_are_served() {
    let arguments = ["echo", "--listen", "127.0.0.1:0", "--listen", "127.0.0.2:0", "--cores", "0"];
    let server = Serving::start(ringsock(&arguments));
    assert_eq!(server.address.ip().to_string(), "127.0.0.1");
    echo(&mut server.connect(), "first");
    server.signal("TERM");
    let (code, log) = server.wait();
    assert_eq!(code, Some(0));
    assert!(log.contains("listening on ws://127.0.0.2:"), "{log}");
}

#[test]
fn browsers_get_a_page() {
    let server = Serving::start(ringsock(&on_free_port(&[])));
    let mut stream = server.raw();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").expect("it can be sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("UTF-8");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("<html") && answer.contains("WebSocket"), "{answer}");
}

#[test]
fn with_few_descriptors_those_who_come_too_late_are_turned_away_and_the_others_served() {
    for driver in ["auto", "epoll"] {
        let command = ringsock_with("ulimit -n 64", &on_free_port(&["--driver", driver]));
        let server = Serving::start(command);
        let mut served = Vec::new();
        let refused = loop {
            let mut stream = server.raw();
            match request(&mut stream) {
                Some(_) => served.push(stream),
                None => break stream,
            }
            assert!(served.len() < 64, "more connections than descriptors");
        };
        assert!(served.len() > 4, "driver {driver}: {}", served.len());
        drop(refused);
        for stream in &mut served {
            echo(stream, "not disturbed");
        }
        // A place that becomes free is given away again.
        drop(served.pop());
        let started = Instant::now();
        let mut next = loop {
            let mut stream = server.raw();
            if request(&mut stream).is_some() {
                break stream;
            }
            assert!(started.elapsed() < program::PATIENCE, "no place became free");
        };
        echo(&mut next, "room again");
    }
}

#[test]
fn tiny_buffers_serve_as_well() {
    let server = Serving::start(ringsock(&on_free_port(&["--test-tiny-buffers"])));
    let mut stream = server.connect();
    for number in 0..100 {
        echo(&mut stream, &format!("{number} {}", "x".repeat(100)));
    }
    stream.set_nonblocking(true).expect("a socket can be made non-blocking");
    let nothing = stream.read(&mut [0; 1]).map_err(|error| error.kind());
    assert_eq!(nothing, Err(ErrorKind::WouldBlock), "nothing but the echoes");
}
