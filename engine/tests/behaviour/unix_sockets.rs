//! Unix sockets: the same server, a name in the file system that is nobody else's.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use ringsock::{Cores, Driver, Server};

use crate::client::{self, Client, PATIENCE, TEXT, upgrade_request};
use crate::recorder::Recorder;
use crate::served::{Served, for_each_driver};

/// A folder of a test, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, driver: Driver) -> Self {
        let name = format!("ringsock-{}-{name}-{driver:?}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).expect("a folder of our own");
        Self(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join("socket")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn served(driver: Driver, path: &Path, options: &str) -> Served {
    let server = Server::builder().listen("127.0.0.1:0").expect("a free port");
    let server = server.listen(&format!("unix:{}{options}", path.display())).expect("a free path");
    let server = server.cores(Cores::List(vec![0, 0])).driver(driver);
    let (factory, _record) = Recorder::new();
    let running = server.start(move |_| factory()).expect("the server starts");
    assert_eq!(running.unix_paths(), [path]);
    Served::adopt(running)
}

/// Upgrades and sends a text that is answered.
fn ask(path: &Path, text: &str) -> Vec<u8> {
    let mut stream = UnixStream::connect(path).expect("the server accepts");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(upgrade_request("/", "").as_bytes()).unwrap();
    stream.write_all(&client::frame(true, TEXT, text.as_bytes(), 7)).unwrap();
    let mut received = Vec::new();
    let mut buffer = [0; 100_000];
    let head = |received: &[u8]| received.windows(4).position(|window| window == b"\r\n\r\n");
    loop {
        let bytes = match stream.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            outcome => outcome.expect("an answer in time"),
        };
        assert_ne!(bytes, 0, "the server has closed: {}", String::from_utf8_lossy(&received));
        received.extend_from_slice(&buffer[..bytes]);
        let Some(end) = head(&received) else { continue };
        let frame = &received[end + 4..];
        let header = if text.len() < 126 { 2 } else { 10 };
        if frame.len() >= 2 && (text == "address" || frame.len() == header + text.len()) {
            return frame[header..].to_vec();
        }
    }
}

#[test]
fn a_unix_socket_serves_as_a_port_does() {
    for_each_driver(|driver| {
        let folder = Folder::new("serves", driver);
        let server = served(driver, &folder.socket(), "");
        for _ in 0..20 {
            assert_eq!(ask(&folder.socket(), "hello"), b"hello");
        }
        let long = "0123456789".repeat(70_000);
        assert_eq!(ask(&folder.socket(), &long), long.as_bytes());
        assert_eq!(ask(&folder.socket(), "address"), b"", "a Unix peer has no address");
        Client::connect(server.address).echo("and the port");
        let mode = fs::metadata(folder.socket()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        server.stop();
        assert!(!folder.socket().exists(), "the name is left behind");
    });
}

#[test]
fn a_mode_is_applied_as_given() {
    for_each_driver(|driver| {
        let folder = Folder::new("mode", driver);
        let _server = served(driver, &folder.socket(), ",mode=606");
        let mode = fs::metadata(folder.socket()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o606);
    });
}

#[test]
fn a_socket_nobody_listens_on_is_replaced_and_any_other_file_is_not() {
    for_each_driver(|driver| {
        let folder = Folder::new("stale", driver);
        drop(UnixListener::bind(folder.socket()).unwrap());
        let server = served(driver, &folder.socket(), "");
        assert_eq!(ask(&folder.socket(), "hello"), b"hello");

        let again = Server::builder().listen(&format!("unix:{}", folder.socket().display()));
        let error = again.expect_err("another one listens there").to_string();
        assert!(error.contains("another program listens there"), "{error}");
        assert_eq!(ask(&folder.socket(), "still there"), b"still there");

        let file = folder.0.join("notes");
        fs::write(&file, "precious").unwrap();
        let error = Server::builder().listen(&format!("unix:{}", file.display())).unwrap_err();
        assert!(error.to_string().contains("is no socket"), "{error}");
        assert_eq!(fs::read(&file).unwrap(), b"precious");

        // What has taken the server's place is not the server's to remove.
        fs::remove_file(folder.socket()).unwrap();
        let other = UnixListener::bind(folder.socket()).unwrap();
        server.stop();
        assert!(folder.socket().exists());
        drop(other);
    });
}

#[test]
fn a_successor_takes_the_socket_over_and_its_name_stays() {
    for_each_driver(|driver| {
        let folder = Folder::new("successor", driver);
        let start = || {
            let server = Server::builder().cores(Cores::List(vec![0])).driver(driver);
            let server = server.handover(folder.0.join("handover")).expect("nobody, or the first");
            let server = server.listen("127.0.0.1:0").expect("a free port");
            let server = server.listen(&format!("unix:{}", folder.socket().display()));
            let (factory, _record) = Recorder::new();
            let running = server.expect("a free or inherited path").start(move |_| factory());
            Served::adopt(running.expect("the server starts"))
        };
        let first = start();
        assert_eq!(ask(&folder.socket(), "first"), b"first");
        let second = start();
        first.join().expect("the predecessor drains");
        assert_eq!(ask(&folder.socket(), "second"), b"second");
        second.stop();
        assert!(!folder.socket().exists(), "the name is left behind");
    });
}

#[test]
fn a_path_that_cannot_be_is_named_with_what_to_do() {
    for (text, part) in [
        ("unix:relative", "does not begin with /"),
        ("unix:/tmp/a,mode=9", "as in 660"),
        ("unix:/nowhere/at/all/socket", "make the folder first"),
    ] {
        let error = Server::builder().listen(text).expect_err("no such socket").to_string();
        assert!(error.contains(part), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
    let long = format!("unix:/tmp/{}", "x".repeat(200));
    assert!(Server::builder().listen(&long).is_err());
}
