//! Every mode of the binary against servers in this process: what is right is found right, and
//! each way of being wrong is found. No speed is judged.

mod beforehand;
mod greeting;
mod program;
mod server;
mod studies;
mod system_calls;
mod wire;

use std::net::TcpListener;
use std::process::Command;

use ringsock::Driver;
use serde_json::Value;

use program::ringload;
use server::{TestServer, start_canned};

/// The drivers that work here, by the name the command line gives them.
fn drivers() -> Vec<(Driver, &'static str)> {
    let mut drivers = vec![(Driver::Epoll, "epoll")];
    if ringsock::server::probe_ring().is_ok() {
        drivers.push((Driver::Ring, "ring"));
    }
    drivers
}

/// Runs a mode against a path of the server and returns its exit code and JSON.
fn run(driver: (Driver, &str), mode: &str, path: &str, words: &[&str]) -> (i32, Value) {
    let server = TestServer::start(driver.0);
    let url = server.url(path);
    let mut all = vec![mode, &url, "--driver", driver.1, "--json", "-"];
    all.extend(words);
    let finished = ringload(&all);
    let json = finished.json();
    (finished.status.code().unwrap(), json)
}

fn number(json: &Value, pointer: &str) -> f64 {
    let value = json.pointer(pointer).and_then(Value::as_f64);
    value.unwrap_or_else(|| panic!("no {pointer} in {json:#}"))
}

fn assert_sound(json: &Value) {
    for field in ["lost_messages", "wrong_messages", "lost_connections"] {
        assert_eq!(number(json, &format!("/errors/{field}")), 0.0, "{json:#}");
    }
}

#[test]
fn echo_counts_every_message_of_every_connection() {
    let this = std::process::id().to_string();
    for driver in drivers() {
        let words = ["--connections", "5", "--pipeline", "3", "--messages", "200"];
        let words = [&words[..], &["--verify", "all", "--server-pid", &this]].concat();
        for kind in ["--text", "--binary"] {
            let (code, json) = run(driver, "echo", "/", &[&words[..], &[kind]].concat());
            assert_eq!(code, 0, "{json:#}");
            assert_sound(&json);
            assert_eq!(json["driver"], driver.1);
            for count in
                ["/messages", "/checked/received", "/checked/compared", "/latency_us/count"]
            {
                assert_eq!(number(&json, count), 1000.0, "{count}: {json:#}");
            }
            assert!(number(&json, "/server/cpu_ns_per_message") > 0.0);
            assert!(number(&json, "/latency_us/p50") <= number(&json, "/latency_us/max"));
        }
    }
}

#[test]
fn echo_for_a_time_counts_at_least_what_it_waited_for() {
    for driver in drivers() {
        let words = ["--connections", "3", "--payload", "70000", "--duration", "0.3"];
        let (code, json) = run(driver, "echo", "/", &[&words[..], &["--warmup", "0.1"]].concat());
        assert_eq!(code, 0, "{json:#}");
        assert_sound(&json);
        assert!((0.2..10.0).contains(&number(&json, "/seconds")));
        assert!(number(&json, "/messages") >= 1.0);
        assert!(number(&json, "/checked/sent") >= number(&json, "/messages"));
    }
}

#[test]
fn the_run_over_time_has_the_whole_of_it() {
    let words = ["--connections", "2", "--rate", "500", "--duration", "0.9", "--warmup", "0"];
    let (code, json) = run((Driver::Epoll, "epoll"), "echo", "/", &words);
    assert_eq!(code, 0, "{json:#}");
    let last = json["timeline"].as_array().unwrap().last().unwrap();
    // Intervals are a quarter of a second, so the last one is shorter.
    assert!(number(last, "/at") > 0.8, "{json:#}");
}

#[test]
fn headers_take_six_paths_and_all_are_right() {
    for driver in drivers() {
        let words = ["--connections", "2", "--seconds-per-row", "0.1", "--verify", "all"];
        let words = [&words[..], &["--ramp", "50"]].concat();
        let (code, json) = run(driver, "headers", "/", &words);
        assert_eq!(code, 0, "{json:#}");
        let rows = json["rows"].as_array().unwrap();
        let payloads: Vec<_> = rows.iter().map(|row| number(row, "/payload_bytes")).collect();
        assert_eq!(payloads, [0.0, 20.0, 125.0, 126.0, 1000.0, 65_535.0, 65_536.0, 1_048_576.0]);
        rows.iter().for_each(assert_sound);
        let paths = json["paths"].as_array().unwrap();
        let sizes: Vec<_> = paths.iter().map(|path| number(path, "/header_bytes")).collect();
        assert_eq!(sizes, [6.0, 8.0, 14.0, 2.0, 4.0, 10.0]);
        assert!(paths.iter().all(|path| path["sound"] == true && number(path, "/compared") > 0.0));
    }
}

#[test]
fn churn_completes_the_closing_handshake_of_every_cycle() {
    for driver in drivers() {
        let words =
            ["--connections", "4", "--messages", "3", "--duration", "0.3", "--verify", "all"];
        let (code, json) = run(driver, "churn", "/", &words);
        assert_eq!(code, 0, "{json:#}");
        assert_sound(&json);
        assert!(number(&json, "/cycles") >= 1.0, "{json:#}");
        assert!(number(&json, "/checked/received") >= 3.0 * number(&json, "/cycles"));
    }
}

#[test]
fn idle_connections_echo_once_and_are_told_in_bytes() {
    let this = std::process::id().to_string();
    for driver in drivers() {
        for ramp in [&[][..], &["--ramp", "1000"]] {
            let words = ["--connections", "150", "--hold", "0.1", "--server-pid", &this];
            let (code, json) = run(driver, "idle", "/", &[&words[..], ramp].concat());
            assert_eq!(code, 0, "{json:#}");
            assert_sound(&json);
            assert_eq!(number(&json, "/checked/received"), 150.0);
            number(&json, "/server/anon_bytes_per_connection");
            for part in ["/opening/client", "/opening/server", "/holding/client"] {
                let cost = number(&json, &format!("{part}/cpu_ns_per_connection"));
                assert!(cost > 0.0, "{part}: {json:#}");
            }
            assert_eq!(json["interrupted"], false);
            assert!(number(&json, "/hold_seconds") >= 0.1, "{json:#}");
            if !ramp.is_empty() {
                assert!(number(&json, "/opening_seconds") > 0.1, "{json:#}");
            }
        }
    }
}

#[test]
fn signs_of_life_of_idle_connections_are_no_fault() {
    // They are asked for after a silence that is shorter than the hold.
    let words = ["--connections", "3", "--hold", "0.6", "--answer-timeout", "0.1"];
    let (code, json) = run((Driver::Epoll, "epoll"), "idle", "/", &words);
    assert_eq!(code, 0, "{json:#}");
    assert_sound(&json);
}

#[test]
fn fanout_reaches_everybody_with_every_message() {
    for driver in drivers() {
        for kind in ["--text", "--binary"] {
            let words = ["--connections", "20", "--pipeline", "4", "--duration", "0.2", kind];
            let words = [&words[..], &["--warmup", "0.1", "--verify", "all"]].concat();
            let (code, json) = run(driver, "fanout", "/fanout", &words);
            assert_eq!(code, 0, "{json:#}");
            assert_sound(&json);
            let published = number(&json, "/reach/published");
            assert!(published >= 4.0, "{json:#}");
            assert_eq!(number(&json, "/reach/deliveries"), 20.0 * published);
            assert_eq!(number(&json, "/checked/compared"), 20.0 * published);
        }
    }
}

#[test]
fn a_fuzzing_server_leads_the_client_through_all_its_cases() {
    for driver in drivers() {
        let (code, json) = run(driver, "fuzzing-client", "", &["--agent", "a b"]);
        assert_eq!(code, 0, "{json:#}");
        assert_eq!(number(&json, "/cases"), 3.0);
        assert_eq!(number(&json, "/messages"), 4.0);
    }
}

#[test]
fn each_way_an_echo_can_be_wrong_is_found() {
    let short = ["--connections", "2", "--duration", "0.3", "--warmup", "0", "--verify", "all"];
    for (path, field, words) in [
        ("/corrupt", "wrong_messages", "message 9 of 20 bytes came back as 20 other bytes"),
        ("/swallow", "lost_messages", ""),
        ("/leave", "lost_connections", "ended with 1001 enough"),
        ("/greet", "wrong_messages", "answers nothing"),
    ] {
        let (code, json) = run((Driver::Epoll, "epoll"), "echo", path, &short);
        assert_eq!(code, 1, "{path}: {json:#}");
        assert_eq!(number(&json, &format!("/errors/{field}")), 2.0, "{path}: {json:#}");
        let first = json["errors"]["first"].as_str().unwrap_or_default();
        assert!(first.contains(words), "{path}: {first}");
    }
}

#[test]
fn a_rate_that_is_too_high_starves_nobody_and_every_message_is_accounted_for() {
    for driver in drivers() {
        let words = ["--connections", "4", "--pipeline", "1", "--rate", "4M", "--payload", "32"];
        let words = [&words[..], &["--warmup", "0", "--duration", "0.5"]].concat();
        let (code, json) = run(driver, "echo", "/", &words);
        assert_eq!(code, 1, "{json:#}");
        let sent = number(&json, "/checked/sent");
        let unsent = number(&json, "/errors/unsent_messages");
        assert!(unsent > 0.0, "{json:#}");
        assert_eq!(sent + unsent, 2_000_000.0, "each is sent or said not to be: {json:#}");
        assert_eq!(number(&json, "/latency_us/count"), 2_000_000.0, "{json:#}");
        assert_eq!(number(&json, "/errors/lost_messages"), 0.0, "{json:#}");
        // The same four connections without a rate have many thousands in that time.
        assert!(number(&json, "/messages") > 500.0, "nothing was received meanwhile: {json:#}");
    }
}

#[test]
fn a_run_in_which_little_or_nothing_comes_is_told_all_the_same() {
    // One message in twenty seconds, and then none for longer than anybody waits for a handshake.
    let words = ["--connections", "2", "--rate", "0.05", "--duration", "12.5", "--warmup", "0"];
    let (code, json) = run((Driver::Epoll, "epoll"), "echo", "/", &words);
    assert_eq!((code, number(&json, "/checked/received")), (0, 1.0), "{json:#}");
    assert!(number(&json, "/seconds") > 12.0, "{json:#}");
}

#[test]
fn a_server_that_ends_during_the_run_takes_no_result_with_it() {
    let mut other = Command::new("sleep").arg("0.4").spawn().unwrap();
    let pid = other.id().to_string();
    let waiting = std::thread::spawn(move || other.wait().unwrap());
    let words = ["--connections", "2", "--duration", "1", "--warmup", "0", "--server-pid", &pid];
    let (code, json) = run((Driver::Epoll, "epoll"), "echo", "/", &words);
    assert!(waiting.join().unwrap().success());
    assert_eq!(code, 0, "{json:#}");
    assert!(json["server"].is_null() && number(&json, "/messages") > 0.0, "{json:#}");
    assert!(json["warnings"].to_string().contains("the server's process ended"), "{json:#}");
    let gone = ringload(&["echo", "ws://127.0.0.1:9/", "--server-pid", &pid]);
    assert_eq!(gone.status.code(), Some(2));
    assert_eq!(gone.stderr, format!("ringload: --server-pid {pid}: there is no such process\n"));
}

#[test]
fn a_message_delivered_twice_is_counted_once_for_each_subscriber() {
    for driver in drivers() {
        let words = ["--connections", "3", "--duration", "0.2", "--warmup", "0"];
        let (code, json) = run(driver, "fanout", "/fanout-twice", &words);
        assert_eq!(code, 1, "{json:#}");
        assert_eq!(number(&json, "/errors/duplicated_messages"), 3.0, "{json:#}");
        assert_eq!(number(&json, "/errors/wrong_messages"), 0.0);
        assert_eq!(number(&json, "/errors/lost_messages"), 0.0);
    }
}

#[test]
fn a_server_that_is_not_there_or_refuses_is_named_with_the_phase() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = TestServer::start(Driver::Epoll);
    let refused = server.url("/no-such-path");
    for driver in drivers() {
        for (url, words) in [
            (format!("ws://{nobody}/"), format!("ringload: {nobody}: connect: Connection refused")),
            (refused.clone(), format!("{}: handshake: ", &refused[5..refused.len() - 13])),
            (
                "ws://no-such-host.invalid/".to_owned(),
                "no-such-host.invalid:80: resolve: ".to_owned(),
            ),
        ] {
            for mode in ["echo", "churn", "fanout"] {
                let finished = ringload(&[mode, &url, "--driver", driver.1, "--connections", "2"]);
                assert_eq!(finished.status.code(), Some(2), "{}", finished.stderr);
                assert!(finished.stderr.contains(&words), "{} is not {words}", finished.stderr);
                assert_eq!(finished.stderr.lines().count(), 1, "{}", finished.stderr);
            }
        }
    }
}

#[test]
fn canned_answers_are_taken_only_from_a_peer_that_is_trusted() {
    let words = ["--connections", "1", "--messages", "100"];
    let url = format!("ws://{}/", start_canned());
    let finished = ringload(&[&["echo", &url][..], &words].concat());
    assert_eq!(finished.status.code(), Some(2), "{}", finished.stdout);
    assert!(finished.stderr.contains("handshake"), "{}", finished.stderr);
    let url = format!("ws://{}/", start_canned());
    let finished = ringload(&[&["echo", &url, "--trust-peer", "--json", "-"][..], &words].concat());
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    assert_eq!(number(&finished.json(), "/checked/received"), 100.0);
    assert_eq!(number(&finished.json(), "/checked/compared"), 0.0);
    // At a rate as well: what comes back carries no number.
    let url = format!("ws://{}/", start_canned());
    let words = ["--connections", "1", "--rate", "200", "--duration", "0.3", "--warmup", "0"];
    let finished = ringload(&[&["echo", &url, "--trust-peer", "--json", "-"][..], &words].concat());
    assert_eq!(finished.status.code(), Some(0), "{}{}", finished.stdout, finished.stderr);
    // One connection makes the whole of it, however many shards there are.
    assert_eq!(number(&finished.json(), "/latency_us/count"), 60.0, "{}", finished.stdout);
    // One subscriber is an audience, too.
    let url = format!("ws://{}/", start_canned());
    let words = ["--connections", "1", "--payload", "20", "--duration", "0.1", "--warmup", "0"];
    let finished = ringload(&[&["fanout", &url, "--trust-peer"][..], &words].concat());
    assert_eq!(finished.status.code(), Some(0), "{}{}", finished.stdout, finished.stderr);
}

#[test]
fn bad_usage_is_one_line_and_help_is_not_an_error() {
    for words in [
        &["echo"][..],
        &["echo", "ws://h/", "--payload", "x"],
        &["echo", "http://h/"],
        &["echo", "ws://h/", "--duration", "0"],
    ] {
        let finished = ringload(words);
        assert_eq!(finished.status.code(), Some(2), "{words:?}");
        assert_eq!(finished.stderr.lines().count(), 1, "{}", finished.stderr);
    }
    let help = ringload(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(help.stdout.contains("ringload echo ws://"), "{}", help.stdout);
}

#[test]
fn what_a_person_reads_names_what_was_measured() {
    let server = TestServer::start(Driver::Epoll);
    let url = server.url("/");
    let finished = ringload(&["echo", &url, "--messages", "10", "--connections", "2"]);
    assert_eq!(finished.status.code(), Some(0), "{}", finished.stderr);
    for word in ["rate ", "messages/s", "p99.9", "client ", "checked   20 sent, 20 received"] {
        assert!(finished.stdout.contains(word), "{}", finished.stdout);
    }
    assert_eq!(finished.stderr, "");
}
