//! System calls of a server, against one whose number of calls is known. Left out where the machine
//! does not let them be counted.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use crate::number;
use crate::program::{Finished, ringload, ringload_with};

/// Where the server listens that this program is when it is started as one.
const ADDRESS: &str = "RINGLOAD_TEST_SERVER_ADDRESS";

/// A server that makes two calls for each message: it is this program, started by a test.
#[test]
#[ignore = "it is a server, which another test starts"]
fn server_with_two_calls_a_message() {
    let Ok(address) = std::env::var(ADDRESS) else { return };
    let listener = TcpListener::bind(address).unwrap();
    for socket in listener.incoming() {
        thread::spawn(move || serve(socket.unwrap()));
    }
}

fn serve(mut socket: TcpStream) {
    const HANDSHAKE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        // Whoever only looks whether somebody listens says nothing.
        if socket.read_exact(&mut byte).is_err() {
            return;
        }
        head.extend(byte);
    }
    socket.write_all(HANDSHAKE).unwrap();
    let (mut request, mut response) = ([0; 26], [0; 22]);
    response[..2].copy_from_slice(&[0x82, 20]);
    while socket.read_exact(&mut request).is_ok() && socket.write_all(&response).is_ok() {}
}

/// Why calls cannot be counted here, if they cannot.
fn hindrance() -> Option<String> {
    let event = ["stat", "-e", "raw_syscalls:sys_enter", "true"];
    match Command::new("perf").args(event).output() {
        Err(error) => Some(format!("perf: {error}")),
        Ok(tried) if tried.status.success() => None,
        Ok(tried) => Some(String::from_utf8_lossy(&tried.stderr).into_owned()),
    }
}

/// A thousand messages to the server, which a shell has started.
fn count(expected: &str) -> Finished {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let program = std::env::current_exe().unwrap();
    let name = "system_calls::server_with_two_calls_a_message";
    let server = format!("'{}' --exact {name} --ignored; true", program.display());
    let server = format!("sh -c \"{server}\"");
    let url = format!("ws://{address}/");
    let words = ["echo", &url, "--server-cmd", &server, "--trust-peer", "--connections", "2"];
    let more = ["--messages", "500", "--count-system-calls", "--json", "-", "--expect", expected];
    ringload_with(&[(ADDRESS, &address)], &[&words[..], &more].concat())
}

#[test]
fn all_calls_of_threads_and_children_that_come_later_are_counted_and_told_by_the_message() {
    if let Some(hindrance) = hindrance() {
        return eprintln!("left out, for calls cannot be counted here: {hindrance}");
    }
    let finished = count("syscalls-per-message<2.1,syscalls-per-message>1.9");
    assert_eq!(finished.status.code(), Some(0), "{}{}", finished.stdout, finished.stderr);
    let json = finished.json();
    assert_eq!(number(&json, "/messages"), 1000.0);
    // But for what a shell may do meanwhile.
    let calls = number(&json, "/server/system_calls");
    assert!((1995.0..2050.0).contains(&calls), "{json:#}");
    assert!((number(&json, "/server/system_calls_per_message") - calls / 1000.0).abs() < 1e-9);
    let warnings = json["warnings"].to_string();
    assert!(warnings.contains("system calls were counted, which makes each"), "{warnings}");
    assert_eq!(count("syscalls-per-message<1.9").status.code(), Some(3));
}

#[test]
fn where_calls_cannot_be_counted_no_run_is_made_and_why_is_told() {
    let this = std::process::id().to_string();
    let nobody = "ws://127.0.0.1:9/";
    let watched = ["--server-pid", &this, "--count-system-calls"];
    for (words, path, told) in [
        (
            &["echo", nobody, "--count-system-calls"][..],
            None,
            "it takes --server-pid or --server-cmd",
        ),
        (
            &["search", nobody, "--slo", "p99<1s", watched[0], watched[1], watched[2]],
            None,
            "this mode does not tell",
        ),
        (
            &["echo", nobody, watched[0], watched[1], watched[2]],
            Some("/no/such/folder"),
            "Debian has it in the package linux-perf",
        ),
    ] {
        let finished = match path {
            Some(path) => ringload_with(&[("PATH", path)], words),
            None => ringload(words),
        };
        assert_eq!(finished.status.code(), Some(2), "{words:?}: {}", finished.stdout);
        let line = finished.stderr.trim();
        assert!(
            line.starts_with("ringload: --count-system-calls: ") && line.contains(told),
            "{line}"
        );
        assert_eq!(line.lines().count(), 1, "{line}");
    }
}
