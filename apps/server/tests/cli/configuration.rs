//! The configuration: who goes before whom, what is wrong with it, what is shown of it.

use crate::place::Place;
use crate::program::{Serving, echo, failure, finish, get, ringsock, upgrade};

/// What a command that succeeds prints.
fn printed(arguments: &[&str], variables: &[(&str, &str)]) -> String {
    let mut command = ringsock(arguments);
    command.envs(variables.iter().copied());
    let output = finish(command);
    let error = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(0), "{error}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn flags_go_before_the_environment_and_that_before_the_file() {
    let place = Place::new("precedence");
    let file = place.write(
        "r.toml",
        "[limits]\nping_interval = \"11s\"\nclose_timeout = \"11s\"\nlinger_timeout = \"11s\"\n",
    );
    let variables =
        [("RINGSOCK_LIMITS__CLOSE_TIMEOUT", "12s"), ("RINGSOCK_LIMITS__LINGER_TIMEOUT", "12s")];
    let arguments =
        ["print-config", "--config", &file, "--set", "limits.linger_timeout=13s", "--cores", "0"];
    let page = printed(&arguments, &variables);
    for line in [
        &format!("ping_interval = \"11s\" # {file}:2"),
        "close_timeout = \"12s\" # environment RINGSOCK_LIMITS__CLOSE_TIMEOUT",
        "linger_timeout = \"13s\" # flag --set",
        "cores = \"0\" # flag --cores",
        "driver = \"auto\" # default",
        "message_bytes_max = \"64MiB\" # default",
    ] {
        assert!(page.lines().any(|own| own == line), "{line} in {page}");
    }
}

#[test]
fn what_is_printed_is_a_configuration_that_says_the_same() {
    let place = Place::new("round-trip");
    let text = "[server]\nname = \"\\\\ \\\"\"\n\
        listen = [\"127.0.0.1:1\", \"[::1]:2\"]\n[limits]\nconnections_max = 7\n\
        [[app]]\nkind = \"echo\"\npath = \"/a/{b}/\\u2028\"\n";
    let file = place.write("r.toml", text);
    let first = printed(&["print-config", "--config", &file], &[]);
    let copy = place.write("copy.toml", &first);
    let second = printed(&["print-config", "--config", &copy], &[]);
    let values = |page: &str| -> Vec<String> {
        let lines = page.lines().map(|line| line.split(" # ").next().unwrap_or_default());
        lines.filter(|line| !line.starts_with("# ")).map(str::to_owned).collect()
    };
    assert_eq!(values(&first), values(&second));
    assert!(
        first.contains("connections_max = 7 ") && first.contains("path = \"/a/{b}/"),
        "{first}"
    );
}

#[test]
fn secrets_are_not_shown() {
    let variables = [("RINGSOCK_ADMIN__TOKEN", "tell-nobody")];
    let page = printed(&["print-config"], &variables);
    assert!(page.contains("token = \"(not shown)\" # environment RINGSOCK_ADMIN__TOKEN"), "{page}");
    assert!(!page.contains("tell-nobody"));
    let place = Place::new("secret");
    let file = place.write("token", "from-a-file\n");
    let setting = format!("admin.token_file={file}");
    let arguments = ["echo", "--listen", "127.0.0.1:0", "--cores", "0", "--admin", "127.0.0.1:0"];
    let server = Serving::start(ringsock(&[&arguments[..], &["--set", &setting]].concat()));
    let admin = server.address_after("admin on http://");
    assert!(get(admin, "/metrics").starts_with("HTTP/1.1 403 "));
    let head = "/metrics HTTP/1.1\r\nAuthorization: Bearer from-a-file\r\nX:";
    assert!(get(admin, head).starts_with("HTTP/1.1 200 "));
    let both = ["check-config", "--set", &setting, "--set", "admin.token=x"];
    assert!(failure(ringsock(&both)).contains("give one of them"));
    let missing = ["check-config", "--set", "admin.token_file=/nonexistent"];
    assert!(failure(ringsock(&missing)).contains("'/nonexistent'"));
}

#[test]
fn a_good_configuration_is_called_good_and_a_bad_one_named_with_its_line() {
    let place = Place::new("check");
    let good = place.write("good.toml", "[log]\nformat = \"json\"\n");
    let page = printed(&["check-config", "--config", &good], &[]);
    assert!(page.starts_with(&format!("{good}: good for 'ringsock echo'")), "{page}");
    for (name, text, named) in [
        ("key", "\n[limits]\nping_intervall = \"1s\"\n", "key.toml:3: there is no key"),
        ("unit", "[limits]\nping_interval = 30\n", "as in 30s"),
        ("range", "[limits]\nheader_lines_max = 0\n", "range.toml:2: limits.header_lines_max is 0"),
        ("level", "[log]\nlevel = \"=\"\n", "level.toml:2: log.level: '=' is not a level"),
        ("core", "[server]\ncores = \"some\"\n", "core.toml:2: server.cores: 'some'"),
        ("name", "[server]\nname = \"a\\nb\"\n", "server.name: a header"),
        ("listen", "[server]\nlisten = [\"9001\"]\n", "HOST:PORT"),
        ("kind", "[[app]]\nkind = \"eko\"\npath = \"/\"\n", "kind.toml:1: there is no application"),
    ] {
        let file = place.write(&format!("{name}.toml"), text);
        let line = failure(ringsock(&["check-config", "--config", &file]));
        assert!(line.contains(named), "{line}");
    }
    let line = failure(ringsock(&["check-config", "--config", &place.path("missing.toml")]));
    assert!(line.contains("missing.toml") && line.contains("No such file"), "{line}");
    let line = failure(ringsock(&["check-config", "--set", "limits.ping_interval"]));
    assert!(line.contains("KEY=VALUE"), "{line}");
    let line = failure(ringsock(&["echo", "--config", &place.path("kind.toml")]));
    assert!(line.contains("ringsock serve"), "{line}");
    let line = failure(ringsock(&["serve", "--config", &good]));
    assert!(line.contains("[[app]]"), "{line}");
}

#[test]
fn what_cannot_start_is_not_called_good() {
    let place = Place::new("cannot-start");
    let app = |path: &str| format!("[[app]]\nkind = \"echo\"\npath = \"{path}\"\n");
    let long = "x".repeat(108);
    for (name, text, named) in [
        ("relative", app("one"), "'one' does not begin with /"),
        ("conflict", app("/a/{b}") + &app("/a/{c}"), "'/a/{c}'"),
        ("twice", app("/a") + &app("/a"), "'/a'"),
        ("brace", app("/a/{"), "'/a/{'"),
        ("escape", app("/a%20b"), "has an escape"),
        ("dots", app("/a/../b"), ". or .. segment"),
        (
            "exposed",
            "[admin]\nlisten = \"0.0.0.0:9601\"\n".to_owned(),
            "admin address 0.0.0.0:9601",
        ),
        ("admin", "[admin]\nlisten = \"9601\"\n".to_owned(), "HOST:PORT"),
        ("unix", "[server]\nlisten = [\"unix:foo\"]\n".to_owned(), "'unix:foo'"),
        ("mode", "[server]\nlisten = [\"unix:/foo,mode=9\"]\n".to_owned(), "as in 660"),
        ("long", format!("[server]\nlisten = [\"unix:/{long}\"]\n"), "cannot listen on"),
        ("handover", format!("[server]\nhandover = \"/{long}\"\n"), "no hand-over at"),
        ("core", "[server]\ncores = \"0,4095\"\n".to_owned(), "core 4095"),
        (
            "tls",
            "[tls]\ncertificate = \"/none.pem\"\nkey = \"/none.key\"\n".to_owned(),
            "/none.pem",
        ),
        ("origin", "[access]\norigins = [\"x\"]\n".to_owned(), "'x' is no origin"),
        ("at", "[[access.at]]\npaths = [\"x\"]\n".to_owned(), "'x'"),
    ] {
        let file = place.write(&format!("{name}.toml"), &text);
        let checked = failure(ringsock(&["check-config", "--config", &file]));
        assert!(checked.contains(named), "{name}: {checked}");
        // And it is what the start says.
        let command = if text.contains("[[app]]") { "serve" } else { "echo" };
        let started = failure(ringsock(&[command, "--config", &file]));
        assert_eq!(started, checked, "{name}");
    }
}

#[test]
fn variables_of_others_are_left_alone_and_told() {
    // What Kubernetes adds for a Service of that name.
    let foreign = [
        ("RINGSOCK_PORT", "tcp://10.0.0.1:9001"),
        ("RINGSOCK_PORT_9001_TCP", "tcp://10.0.0.1:9001"),
        ("RINGSOCK_SERVICE_HOST", "10.0.0.1"),
    ];
    let page = printed(&["check-config"], &foreign);
    assert!(page.contains("RINGSOCK_PORT_9001_TCP") && page.contains("no file: good"), "{page}");
    let mut command = ringsock(&["check-config"]);
    command.env("RINGSOCK_LIMITS__PING_INTERVALL", "5s");
    let line = failure(command);
    assert!(line.contains("RINGSOCK_LIMITS__PING_INTERVALL"), "{line}");
}

#[test]
fn the_example_is_good() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/ringsock.toml");
    printed(&["check-config", "--config", example], &[]);
}

#[test]
fn several_applications_are_served_by_path_with_a_page_that_lists_them() {
    let place = Place::new("serve");
    let text = "[server]\nlisten = [\"127.0.0.1:0\"]\ncores = \"0\"\n[limits]\nmessage_bytes_max = 100\n\
        [[app]]\nkind = \"echo\"\npath = \"/one\"\n[[app]]\nkind = \"echo\"\npath = \"/two/{room}\"\n";
    let file = place.write("r.toml", text);
    let server = Serving::start(ringsock(&["serve", "--config", &file]));
    for path in ["/one", "/two/anything"] {
        echo(&mut server.connect_to(path), path);
    }
    assert!(upgrade(&mut server.raw(), "/three").expect("an answer").starts_with("HTTP/1.1 404 "));
    let page = server.get("/");
    assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
    assert!(page.contains("<a href=\"/one\">") && page.contains("/two/{room}"), "{page}");
    assert!(server.get("/one").contains("<html"), "echo brings its own page");
}

#[test]
fn a_path_that_is_none_is_named() {
    let place = Place::new("path");
    let file = place.write("r.toml", "[[app]]\nkind = \"echo\"\npath = \"one\"\n");
    let line = failure(ringsock(&["serve", "--listen", "127.0.0.1:0", "--config", &file]));
    assert!(line.contains("'one'"), "{line}");
}

#[test]
fn the_log_may_be_json() {
    let arguments = ["echo", "--listen", "127.0.0.1:0", "--cores", "0", "--log-format", "json"];
    let server = Serving::start(ringsock(&arguments));
    for line in server.greeting.lines() {
        assert!(line.starts_with('{') && line.ends_with('}'), "{line}");
        assert!(line.contains("\"level\":\"INFO\""), "{line}");
    }
    server.signal("TERM");
    let (code, log) = server.wait();
    assert_eq!(code, Some(0));
    assert!(log.contains("\"message\":\"draining"), "{log}");
}

#[test]
fn a_log_that_is_off_is_silent() {
    let place = Place::new("silent");
    let path = place.path("handover.sock");
    let arguments = [
        "echo",
        "--listen",
        "127.0.0.1:0",
        "--cores",
        "0",
        "--log-level",
        "off",
        "--handover",
        &path,
    ];
    let mut child = ringsock(&arguments).spawn().expect("the program can be started");
    let started = std::time::Instant::now();
    while !std::path::Path::new(&path).exists() {
        assert!(started.elapsed() < crate::program::PATIENCE, "it does not serve");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().expect("a child can be killed");
    let output = child.wait_with_output().expect("what it has written");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn compression_is_agreed_to_once_it_is_switched_on() {
    let offer = "/ HTTP/1.1\r\nSec-WebSocket-Extensions: permessage-deflate\r\nX:";
    for (value, agreed) in [("true", true), ("false", false)] {
        let setting = format!("deflate.enabled={value}");
        let arguments = ["echo", "--listen", "127.0.0.1:0", "--cores", "0", "--set", &setting];
        let server = Serving::start(ringsock(&arguments));
        let head = upgrade(&mut server.raw(), offer).expect("an answer");
        assert_eq!(head.contains("permessage-deflate"), agreed, "{head}");
    }
    let line = failure(ringsock(&["check-config", "--set", "deflate.send_window_bits=16"]));
    assert!(line.contains("send_window_bits"), "{line}");
    let line = failure(ringsock(&["check-config", "--set", "latency.spin=2m"]));
    assert!(line.contains("spin"), "{line}");
}

#[test]
fn who_may_connect_is_configured() {
    let place = Place::new("access");
    let secrets = place.write("secrets", "anna sesame\nbert pepper\n");
    let text = format!(
        "[access]\norigins = [\"https://good.example\"]\nsecrets_file = {secrets:?}\n\
         secrets_in = [\"bearer\", \"query:token\"]\nsubprotocols = [\"chat.v1\"]\nheaders = [\"X-Served-By: me\"]\n"
    );
    let file = place.write("r.toml", &text);
    let arguments = ["echo", "--listen", "127.0.0.1:0", "--cores", "0", "--config", &file];
    let server = Serving::start(ringsock(&arguments));
    let status = |path: &str, headers: &str| {
        let head = upgrade(&mut server.raw(), &format!("{path} HTTP/1.1\r\n{headers}X:"));
        head.expect("an answer")[9..12].to_owned()
    };
    let origin = "Origin: https://good.example\r\n";
    assert_eq!(status("/?token=sesame", origin), "101");
    assert_eq!(status("/", &format!("{origin}Authorization: Bearer pepper\r\n")), "101");
    assert_eq!(status("/", origin), "401");
    assert_eq!(status("/?token=wrong", origin), "401");
    assert_eq!(status("/?token=sesame", "Origin: https://evil.example\r\n"), "403");
    let offer = "/?token=sesame HTTP/1.1\r\nSec-WebSocket-Protocol: other, chat.v1\r\nX:";
    let head = upgrade(&mut server.raw(), offer).expect("an answer");
    assert!(head.contains("Sec-WebSocket-Protocol: chat.v1\r\n"), "{head}");
    assert!(head.contains("X-Served-By: me\r\n"), "{head}");
    for (setting, named) in [
        ("access.origins=good.example", "access.origins"),
        ("access.hosts=a/b", "access.hosts"),
        ("access.origin_required=true", "access.origin_required: of use only with origins"),
        ("access.secrets_in=bearer", "access.secrets_in: of use only with secrets_file"),
        ("access.secrets_file=/nonexistent", "'/nonexistent'"),
    ] {
        let line = failure(ringsock(&["check-config", "--set", setting]));
        assert!(line.contains(named), "{line}");
    }
}

#[test]
fn who_may_connect_where_is_configured_and_every_refusal_has_the_headers() {
    let place = Place::new("access-at");
    let (all, staff) = (place.write("all", "anna sesame\n"), place.write("staff", "bert pepper\n"));
    let text = format!(
        "[access]\nheaders = [\"Strict-Transport-Security: max-age=9\"]\nhosts = [\"a\"]\n\
         secrets_file = {all:?}\nsecrets_in = [\"query:token\"]\n\
         [[access.at]]\npaths = [\"/staff/{{*rest}}\", \"/board\"]\n\
         secrets_file = {staff:?}\nheaders = [\"X-Where: staff\"]\n\
         [[access.at]]\npaths = [\"/board\"]\norigins = [\"https://a.example\"]\norigin_required = true\n"
    );
    let file = place.write("r.toml", &text);
    let page = printed(&["print-config", "--config", &file], &[]);
    assert!(page.contains(&format!("[[access.at]] # {file}:6\n")), "{page}");
    let copy = place.write("copy.toml", &page);
    assert!(printed(&["check-config", "--config", &copy], &[]).contains(": good"));
    let arguments = ["echo", "--listen", "127.0.0.1:0", "--cores", "0", "--config", &file];
    let server = Serving::start(ringsock(&arguments));
    let bearer = "Authorization: Bearer pepper\r\n";
    let from_board = format!("{bearer}Origin: https://a.example\r\n");
    for (path, headers, status) in [
        ("/", "", "401"),
        ("/?token=sesame", "", "101"),
        ("/staff?token=sesame", "", "401"),
        ("/staff/?token=sesame", bearer, "101"),
        ("/staff/a?token=sesame", "", "401"),
        ("/st%61ff/a?token=sesame", "", "401"),
        ("/staff/a?token=sesame", bearer, "101"),
        ("/staff/a", bearer, "401"),
        ("/board?token=sesame", bearer, "403"),
        ("/board?token=sesame", &from_board, "101"),
        ("/boards?token=sesame", "", "101"),
    ] {
        let head = upgrade(&mut server.raw(), &format!("{path} HTTP/1.1\r\n{headers}X:"));
        let head = head.expect("an answer");
        assert_eq!(&head[9..12], status, "{path} {headers}");
        assert!(head.contains("\r\nStrict-Transport-Security: max-age=9\r\n"), "{head}");
        let of_staff = path.contains("ff") || path.contains("board?");
        assert_eq!(head.contains("\r\nX-Where: staff\r\n"), of_staff, "{path}: {head}");
    }
    let request = "GET / HTTP/1.1\r\nHost: elsewhere\r\n\r\n";
    let mut stream = server.raw();
    std::io::Write::write_all(&mut stream, request.as_bytes()).expect("it can be sent");
    let answer = std::io::read_to_string(stream).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
    assert!(answer.contains("\r\nStrict-Transport-Security: max-age=9\r\n"), "{answer}");
}
