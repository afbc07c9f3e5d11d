//! The server as a service manager and an operator meet it: notifications, passed sockets, reload,
//! admin address, hand-over between processes.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::place::Place;
use crate::program::{PATIENCE, Serving, echo, get, request, ringsock, upgrade};

/// A service manager's end of the notifications.
struct Notified(UnixDatagram);

impl Notified {
    fn bind(path: &str) -> Self {
        let socket = UnixDatagram::bind(path).expect("a socket for notifications");
        socket.set_read_timeout(Some(PATIENCE)).expect("patience is not zero");
        Self(socket)
    }

    /// The lines of the next notification.
    fn next(&self) -> Vec<String> {
        let mut text = [0; 1_024];
        let bytes = self.0.recv(&mut text).expect("a notification");
        let text = std::str::from_utf8(&text[..bytes]).expect("UTF-8");
        text.lines().map(str::to_owned).collect()
    }

    /// Forgets what has come.
    fn forget(&self) {
        self.0.set_nonblocking(true).expect("a socket can be made non-blocking");
        while self.0.recv(&mut [0; 1_024]).is_ok() {}
        self.0.set_nonblocking(false).expect("and blocking again");
    }

    /// Waits for a notification with this line; all of its lines.
    fn wait_for(&self, line: &str) -> Vec<String> {
        loop {
            let lines = self.next();
            if lines.iter().any(|own| own == line) {
                return lines;
            }
            assert_eq!(lines, ["WATCHDOG=1"], "before {line}");
        }
    }
}

#[test]
fn a_service_manager_is_told_of_every_change_and_that_all_is_well() {
    let place = Place::new("notify");
    let path = place.path("notify.sock");
    let manager = Notified::bind(&path);
    for driver in ["auto", "epoll"] {
        let arguments = ["echo", "--listen", "127.0.0.1:0", "--cores", "0", "--driver", driver];
        let mut command = ringsock(&arguments);
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "300000");
        let server = Serving::start(command);
        assert_eq!(manager.wait_for("READY=1"), ["READY=1"]);
        let started = Instant::now();
        for _ in 0..3 {
            assert_eq!(manager.next(), ["WATCHDOG=1"]);
        }
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        server.signal("HUP");
        let lines = manager.wait_for("RELOADING=1");
        assert!(lines.iter().any(|line| line.starts_with("MONOTONIC_USEC=")), "{lines:?}");
        manager.wait_for("READY=1");
        server.signal("TERM");
        manager.wait_for("STOPPING=1");
        assert_eq!(server.wait().0, Some(0));
    }
}

#[test]
fn sockets_that_a_service_manager_passes_are_served_and_survive() {
    for driver in ["auto", "epoll"] {
        let sockets: Vec<TcpListener> =
            (0..2).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
        let copy = |number: usize| {
            let copy = sockets[number].try_clone().expect("a descriptor");
            Stdio::from(OwnedFd::from(copy))
        };
        let mut command = Command::new("sh");
        let script =
            "exec 3<&0 4<&1 0</dev/null 1>&2; LISTEN_FDS=2 LISTEN_PID=$$ exec \"$0\" \"$@\"";
        command.args(["-c", script, env!("CARGO_BIN_EXE_ringsock")]);
        command.args(["echo", "--cores", "0", "--driver", driver]);
        command.stdin(copy(0)).stdout(copy(1)).stderr(Stdio::piped()).env_remove("NOTIFY_SOCKET");
        let mut server = Serving::start(command);
        assert_eq!(server.address, sockets[0].local_addr().expect("its address"));
        server.wait_for_line(&sockets[1].local_addr().expect("its address").to_string());
        for socket in &sockets {
            let address = socket.local_addr().expect("its address");
            let mut stream = TcpStream::connect(address).expect("the server accepts");
            assert!(request(&mut stream).expect("an answer").starts_with("HTTP/1.1 101 "));
            echo(&mut stream, "activated");
        }
        server.signal("TERM");
        // The end of the connections is theirs; the sockets are the manager's.
        assert_eq!(server.wait().0, Some(0));
        let address = sockets[0].local_addr().expect("its address");
        TcpStream::connect(address)
            .expect("the kernel still takes connections for the next server");
    }
}

#[test]
fn a_changed_configuration_is_taken_over_and_a_bad_one_is_not() {
    let place = Place::new("reload");
    let file = place.write("r.toml", "[limits]\nmessage_bytes_max = 10\n");
    let arguments = ["echo", "--listen", "127.0.0.1:0", "--cores", "0", "--config", &file];
    let mut server = Serving::start(ringsock(&arguments));
    let mut stream = server.connect();
    echo(&mut stream, "0123456789");

    place.write("r.toml", "[limits]\nmessage_bytes_max = 20\n[server]\nname = \"other\"\n");
    server.signal("HUP");
    let line = server.wait_for_line("only a restart");
    assert!(line.contains("server.name") && !line.contains("limits"), "{line}");
    let line = server.wait_for_line("configuration read again");
    assert!(line.contains("limits.message_bytes_max"), "{line}");
    echo(&mut stream, "01234567890123456789");

    place.write("r.toml", "[limits]\nmessage_bytes_max = \"huge\"\n");
    server.signal("HUP");
    let line = server.wait_for_line("kept as it was");
    assert!(line.contains("r.toml:2") && line.contains("'huge'"), "{line}");
    echo(&mut stream, "01234567890123456789");

    place.write("r.toml", "[log]\nlevel = \"off\"\n[limits]\nmessage_bytes_max = 30\n");
    server.signal("HUP");
    let started = Instant::now();
    while server.get("/").is_empty() && started.elapsed() < PATIENCE {}
    server.signal("TERM");
    let (code, log) = server.wait();
    assert_eq!((code, log.as_str()), (Some(0), ""), "the log is off");
}

/// Whether a server takes this credential at a path.
fn admits(server: &Serving, path: &str, token: &str) -> bool {
    let head = upgrade(&mut server.raw(), &format!("{path}?token={token}")).expect("an answer");
    assert!(head.starts_with("HTTP/1.1 101 ") || head.starts_with("HTTP/1.1 401 "), "{head}");
    head.starts_with("HTTP/1.1 101 ")
}

#[test]
fn changed_secrets_and_policies_are_taken_over_by_a_reload() {
    let place = Place::new("reload-secrets");
    let secrets = place.write("secrets", "anna first\n");
    let staff = place.write("staff", "bert staff\n");
    let token = place.write("token", "before\n");
    let text = |origin: &str| {
        format!(
            "[admin]\nlisten = \"127.0.0.1:0\"\ntoken_file = {token:?}\n\
             [access]\norigins = [\"{origin}\"]\n\
             secrets_file = {secrets:?}\nsecrets_in = [\"query:token\"]\n\
             [[access.at]]\npaths = [\"/staff/{{*rest}}\"]\n\
             secrets_file = {staff:?}\nsecrets_in = [\"bearer\"]\n"
        )
    };
    let file = place.write("r.toml", &text("https://one.example"));
    let arguments = ["echo", "--listen", "127.0.0.1:0", "--cores", "0", "--config", &file];
    let mut server = Serving::start(ringsock(&arguments));
    let admin = server.address_after("admin on http://");
    let tells = |token: &str| {
        let head = format!("/metrics HTTP/1.1\r\nAuthorization: Bearer {token}\r\nX:");
        get(admin, &head).starts_with("HTTP/1.1 200 ")
    };
    let address = server.address;
    let status = |path: &str, headers: &str| {
        let request = format!("{path}?token=second HTTP/1.1\r\n{headers}X:");
        let mut stream = TcpStream::connect(address).expect("the server accepts");
        upgrade(&mut stream, &request).expect("an answer")[9..12].to_owned()
    };
    assert!(admits(&server, "/", "first") && !admits(&server, "/", "second"));
    assert!(tells("before") && !tells("after"));

    place.write("secrets", "# in use since today\nanna second\n");
    place.write("staff", "bert other\n");
    place.write("token", "after\n");
    server.signal("HUP");
    server.wait_for_line("configuration read again");
    assert!(admits(&server, "/", "second") && !admits(&server, "/", "first"));
    assert!(tells("after") && !tells("before"));
    assert_eq!(status("/staff/a", "Authorization: Bearer other\r\n"), "101");
    assert_eq!(status("/staff/a", "Authorization: Bearer staff\r\n"), "401");
    assert_eq!(status("/", "Origin: https://two.example\r\n"), "403");

    place.write("r.toml", &text("https://two.example"));
    server.signal("HUP");
    let line = server.wait_for_line("configuration read again");
    assert!(line.contains("access.origins"), "{line}");
    assert_eq!(status("/", "Origin: https://two.example\r\n"), "101");
    assert_eq!(status("/", "Origin: https://one.example\r\n"), "403");

    place.write("secrets", "nobody\n");
    server.signal("HUP");
    let line = server.wait_for_line("kept as it was");
    assert!(line.contains("secrets:1"), "{line}");
    assert!(admits(&server, "/", "second"));
}

#[test]
fn the_admin_address_tells_how_it_is() {
    let arguments = ["echo", "--listen", "127.0.0.1:0", "--cores", "0", "--admin", "127.0.0.1:0"];
    let server = Serving::start(ringsock(&arguments));
    let admin = server.address_after("admin on http://");
    echo(&mut server.connect(), "counted");
    assert!(get(admin, "/healthz").ends_with("\r\n\r\nok\n"));
    let metrics = get(admin, "/metrics");
    assert!(metrics.contains("\nringsock_messages_received_total{shard=\"0\"} 1\n"), "{metrics}");
    let open = crate::program::failure(ringsock(&[
        "echo",
        "--listen",
        "127.0.0.1:0",
        "--admin",
        "0.0.0.0:0",
    ]));
    assert!(open.contains("token"), "{open}");
}

/// What `ringsock serve` with one application writes on its way to the address it listens on.
fn greeting_of_serve(place: &Place, admin: &str) -> (Serving, String) {
    let text = format!("{admin}[[app]]\nkind = \"echo\"\npath = \"/echo\"\n");
    let file = place.write("r.toml", &text);
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--cores", "0", "--config", &file];
    let server = Serving::start(ringsock(&arguments));
    let greeting = server.greeting.clone();
    (server, greeting)
}

#[test]
fn applications_have_an_admin_address_unless_its_port_is_taken_or_it_is_off() {
    let place = Place::new("admin");
    match TcpListener::bind("127.0.0.1:9601") {
        Ok(holder) => {
            let (server, greeting) = greeting_of_serve(&place, "");
            assert!(greeting.contains("no admin address"), "{greeting}");
            assert!(greeting.contains("127.0.0.1:9601") && greeting.contains("another program"));
            echo(&mut server.connect_to("/echo"), "served without");
            drop((server, holder));
        }
        Err(error) => eprintln!("not tested with a port that is taken: {error}"),
    }
    let (_server, greeting) = greeting_of_serve(&place, "");
    if !greeting.contains("no admin address") {
        assert!(greeting.contains("admin on http://127.0.0.1:9601/"), "{greeting}");
    }
    let (_server, greeting) = greeting_of_serve(&place, "[admin]\nlisten = \"off\"\n");
    assert!(!greeting.contains("admin"), "{greeting}");
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = holder.local_addr().expect("its address").to_string();
    let file = place.path("r.toml");
    let asked = ["serve", "--listen", "127.0.0.1:0", "--config", &file, "--admin", &taken];
    let line = crate::program::failure(ringsock(&asked));
    assert!(line.contains(&taken) && line.contains("another program listens there"), "{line}");
}

/// Connects, echoes and closes until told to end; how often.
fn churn(address: SocketAddr, over: &AtomicBool) -> usize {
    let mut cycles = 0;
    while !over.load(Ordering::Relaxed) {
        let mut stream = TcpStream::connect(address).expect("nobody is refused");
        stream.set_read_timeout(Some(PATIENCE)).expect("patience is not zero");
        let head = request(&mut stream).expect("nobody is reset before the answer");
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        echo(&mut stream, "short");
        cycles += 1;
    }
    cycles
}

#[test]
fn restarts_with_a_hand_over_refuse_and_reset_nobody() {
    for driver in ["auto", "epoll"] {
        let place = Place::new(&format!("handover-{driver}"));
        let (path, notify) = (place.path("handover.sock"), place.path("notify.sock"));
        let manager = Notified::bind(&notify);
        let unix = place.path("served.sock");
        let unix_address = format!("unix:{unix}");
        let start = |address: &str| {
            let arguments = [
                "echo",
                "--listen",
                address,
                "--cores",
                "0",
                "--driver",
                driver,
                "--handover",
                &path,
                "--listen",
                &unix_address,
                "--admin",
                "127.0.0.1:0",
                "--set",
                "limits.drain_window=500ms",
            ];
            let mut command = ringsock(&arguments);
            command.env("NOTIFY_SOCKET", &notify);
            Serving::start(command)
        };
        let mut server = start("127.0.0.1:0");
        let address = server.address;
        let over = Arc::new(AtomicBool::new(false));
        let clients = (0..3).map(|_| {
            let over = Arc::clone(&over);
            thread::spawn(move || churn(address, &over))
        });
        let clients: Vec<_> = clients.collect();
        for _ in 0..3 {
            let main = format!("MAINPID={}", server.id());
            assert_eq!(manager.wait_for("READY=1"), [main.as_str(), "READY=1"]);
            let next = start(&address.to_string());
            let (code, log) = std::mem::replace(&mut server, next).wait();
            assert_eq!(code, Some(0), "{log}");
            assert!(log.contains("a successor has taken over"), "{log}");
            UnixStream::connect(&unix).expect("the successor is there as well");
        }
        over.store(true, Ordering::Relaxed);
        for client in clients {
            assert!(client.join().expect("nobody was refused or reset") > 0);
        }
        server.signal("TERM");
        assert_eq!(server.wait().0, Some(0));
        for path in [&path, &unix] {
            assert!(!Path::new(path).exists(), "nothing is left behind");
        }
    }
}

/// A process that is not our child, ended when dropped.
struct Grandchild(String);

impl Drop for Grandchild {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-KILL", &self.0]).stderr(Stdio::null()).status();
    }
}

#[test]
fn a_signal_starts_a_successor_that_takes_over_and_is_watched_in_its_turn() {
    let place = Place::new("successor");
    let (path, notify) = (place.path("handover.sock"), place.path("notify.sock"));
    let manager = Notified::bind(&notify);
    // A service manager's variables: the watchdog is for the process with this number.
    let script = "WATCHDOG_USEC=300000 WATCHDOG_PID=$$ exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    // One that is free now: with port 0 the successor would listen elsewhere.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = free.expect("a free port").to_string();
    command.args(["-c", script, env!("CARGO_BIN_EXE_ringsock"), "echo", "--listen", &address]);
    command.args(["--cores", "0", "--handover", &path, "--set", "limits.drain_window=300ms"]);
    command.env("NOTIFY_SOCKET", &notify).stdin(Stdio::null()).stderr(Stdio::piped());
    let server = Serving::start(command);
    manager.wait_for("READY=1");
    server.signal("USR2");
    let ready = manager.wait_for("READY=1");
    let main = ready.iter().find_map(|line| line.strip_prefix("MAINPID=")).expect("a number");
    let successor = Grandchild(main.to_owned());
    assert_ne!(main, server.id().to_string());
    let address = server.address;
    // The log goes on: it is the successor's as well, and ends with it.
    assert_eq!(server.wait_silently(), Some(0));
    manager.forget();
    for _ in 0..3 {
        assert_eq!(manager.next(), ["WATCHDOG=1"]);
    }
    let mut stream = TcpStream::connect(address).expect("the successor accepts");
    assert!(request(&mut stream).expect("an answer").starts_with("HTTP/1.1 101 "));
    echo(&mut stream, "succeeded");
    drop(stream);
    let ended = Command::new("kill").args(["-TERM", &successor.0]).status().expect("kill runs");
    assert!(ended.success());
    manager.wait_for("STOPPING=1");
    let started = Instant::now();
    while TcpStream::connect(address).is_ok() {
        assert!(started.elapsed() < PATIENCE, "it listens on");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_successor_that_fails_and_one_that_is_not_wanted_change_nothing() {
    let place = Place::new("no-successor");
    let arguments = ["echo", "--listen", "127.0.0.1:0", "--cores", "0"];
    let mut server = Serving::start(ringsock(&arguments));
    server.signal("USR2");
    server.wait_for_line("it needs --handover");
    echo(&mut server.connect(), "serves on");
    let file = place.write("r.toml", "[server]\nname = \"first\"\n");
    let path = place.path("handover.sock");
    let further = ["--config", &file, "--handover", &path];
    let mut server = Serving::start(ringsock(&[&arguments[..], &further].concat()));
    place.write("r.toml", "[server]\nname = 1 2\n");
    for _ in 0..2 {
        server.signal("USR2");
        let line = server.wait_for_line("ended before it took over");
        assert!(line.contains("exit status: 2"), "{line}");
        echo(&mut server.connect(), "serves on");
    }
}

#[test]
fn the_unit_files_name_what_the_program_understands() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd");
    let service = fs::read_to_string(format!("{folder}/ringsock.service")).expect("the unit");
    let start = service.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("a start");
    let arguments: Vec<&str> = start.split_whitespace().skip(1).collect();
    assert_eq!(arguments[0], "serve");
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/ringsock.toml");
    let arguments: Vec<&str> = arguments
        .iter()
        .skip(1)
        .map(|&word| if word.ends_with(".toml") { example } else { word })
        .collect();
    let output = crate::program::finish(ringsock(&[&["check-config"], &arguments[..]].concat()));
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_proxy_that_is_trusted_tells_who_the_client_is() {
    let networks =
        ["--set", "proxies.networks=127.0.0.0/8 ::1", "--set", "proxies.proxy_protocol=true"];
    let arguments = ["echo", "--listen", "127.0.0.1:0", "--cores", "0", "--admin", "127.0.0.1:0"];
    let server = Serving::start(ringsock(&[&arguments[..], &networks].concat()));
    let mut stream = server.raw();
    stream.write_all(b"PROXY TCP4 203.0.113.7 127.0.0.1 4321 80\r\n").expect("it can be sent");
    assert!(request(&mut stream).expect("an answer").starts_with("HTTP/1.1 101 "));
    let list = get(server.address_after("admin on http://"), "/debug/connections");
    assert!(list.contains("\"address\":\"203.0.113.7:4321\""), "{list}");
    assert_eq!(request(&mut server.raw()), None, "without the header there is no answer");
}
