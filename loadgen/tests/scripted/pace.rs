//! How connections and messages are spread over time: what the server saw is the pace that was asked
//! for.

use std::time::{Duration, Instant};

use crate::server::{Script, ScriptedServer};
use crate::{assert_fan_out_reported, drivers, echo, fan_out, number, ringload};

#[test]
fn with_a_ramp_connections_come_at_its_pace_and_messages_after_the_last() {
    const CONNECTIONS: usize = 31;
    for driver in drivers() {
        for (mode, words) in [
            ("echo", &["--duration", "0.1", "--warmup", "0"][..]),
            ("echo", &["--rate", "200", "--duration", "0.1", "--warmup", "0"]),
            ("idle", &["--hold", "0"]),
            ("fanout", &["--duration", "0.1", "--warmup", "0"]),
            ("fanout", &["--rate", "200", "--duration", "0.1", "--warmup", "0"]),
            ("matrix", &["--payloads", "32", "--seconds-per-row", "0.1"]),
        ] {
            let server = match mode {
                "fanout" => ScriptedServer::start_fan_out(Script::default()),
                _ => ScriptedServer::start(Script::default()),
            };
            let (url, connections, began) = (server.url(), CONNECTIONS.to_string(), Instant::now());
            let size = ["--connections", &connections, "--ramp", "100"];
            let payload = if mode == "matrix" { &[][..] } else { &["--payload", "32"] };
            let fixed = [&[mode, &url, "--driver", driver][..], &size, payload].concat();
            let (code, json) = ringload(&[&fixed[..], words].concat());
            assert_eq!(code, 0, "{mode} {words:?}: {json:#}");
            let moments = server.moments();
            assert_eq!(moments.connected.len(), CONNECTIONS, "{mode} {words:?}");
            let last = moments.connected[CONNECTIONS - 1];
            // The thirtieth after the first is due after three tenths of a second.
            assert!(last - began >= Duration::from_millis(300), "{mode} {words:?}");
            let first_message = moments.first_message.unwrap();
            // Idle connections have no other message than the one with which they begin.
            assert!(mode == "idle" || first_message > last, "{mode} {words:?}");
        }
    }
}

#[test]
fn each_run_of_a_study_has_its_ramp() {
    let (server, began) = (ScriptedServer::start(Script::default()), Instant::now());
    let url = server.url();
    let fixed = ["--ramp", "100", "--connections", "20", "--payload", "32", "--rate", "100"];
    let compare = ["compare", &url, &url, "--rounds", "2", "--seconds-per-run", "0.1"];
    let (code, json) = ringload(&[&compare[..], &fixed].concat());
    assert_eq!(code, 0, "{json:#}");
    let slow = ["slow", &url, "--load", "echo", "--slow-share", "0", "--duration", "0.1"];
    let (code, json) = ringload(&[&slow[..], &fixed].concat());
    assert_eq!(code, 0, "{json:#}");
    assert_eq!(number(&json, "/quick_connections"), 20.0, "{json:#}");
    // Four runs of the one and two of the other.
    assert_eq!(server.moments().connected.len(), 6 * 20);
    assert!(began.elapsed() >= Duration::from_millis(6 * 190), "{:?}", began.elapsed());
}

#[test]
fn a_server_that_lets_nobody_in_does_not_hold_a_ramp_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    drop(listener);
    let began = Instant::now();
    let finished = std::process::Command::new(env!("CARGO_BIN_EXE_ringload"))
        .args(["echo", &url, "--connections", "20", "--ramp", "1"])
        .output()
        .unwrap();
    assert_eq!(finished.status.code(), Some(2));
    let told = String::from_utf8_lossy(&finished.stderr).into_owned();
    assert!(told.contains("connect: Connection refused"), "{told}");
    assert!(began.elapsed() < Duration::from_secs(12), "nobody waits for connections to be due");
}

#[test]
fn think_time_separates_an_answer_from_the_next_message() {
    for driver in drivers() {
        let server = ScriptedServer::start(Script::default());
        let words = ["--connections", "10", "--think", "50", "--duration", "1"];
        let (code, json) = echo(&server, driver, &words);
        assert_eq!(code, 0, "{json:#}");
        // Ten connections, each at most twenty times a second.
        let rate = number(&json, "/rate_per_second");
        assert!((100.0..=205.0).contains(&rate), "{driver}: {rate}");
    }
}

#[test]
fn pauses_by_chance_have_their_mean() {
    for driver in drivers() {
        for think in ["20..60", "exp:40"] {
            let server = ScriptedServer::start(Script::default());
            let words = ["--connections", "20", "--think", think, "--duration", "1"];
            let (code, json) = echo(&server, driver, &words);
            assert_eq!(code, 0, "{json:#}");
            assert_eq!(number(&json, "/demanded/think_milliseconds"), 40.0, "{json:#}");
            // Twenty connections, each at most 25 times a second but for chance.
            let rate = number(&json, "/rate_per_second");
            assert!((100.0..=650.0).contains(&rate), "{driver}, {think}: {rate}");
        }
    }
}

#[test]
fn publishers_pause_when_all_have_their_message() {
    for driver in drivers() {
        let server = ScriptedServer::start_fan_out(Script::default());
        let words = ["--connections", "6", "--publishers", "3", "--think", "50"];
        let (code, json) = fan_out(&server, driver, &[&words[..], &["--duration", "1"]].concat());
        assert_eq!(code, 0, "{json:#}");
        assert_fan_out_reported(&server, &json, 6);
        // Each at most twenty times a second, and none has fallen silent.
        let published = number(&json, "/reach/published");
        assert!((15.0..=63.0).contains(&published), "{driver}: {published}");
        assert!(number(&json, "/schedule_lag_us/count") > 0.0, "{json:#}");
    }
}

#[test]
fn pauses_between_the_messages_of_a_connection_are_no_part_of_its_cycle() {
    for driver in drivers() {
        let (server, began) = (ScriptedServer::start(Script::default()), Instant::now());
        let url = server.url();
        let words = ["churn", &url, "--driver", driver, "--connections", "4", "--messages", "3"];
        let pace = ["--think", "100", "--duration", "0.8", "--warmup", "0", "--payload", "32"];
        let (code, json) = ringload(&[&words[..], &pace].concat());
        assert_eq!(code, 0, "{json:#}");
        assert_eq!(number(&json, "/checked/received"), server.did().received as f64, "{json:#}");
        // Two pauses of a tenth of a second each.
        let cycles = number(&json, "/latency_us/count");
        let most = 4.0 * (began.elapsed().as_secs_f64() / 0.2 + 1.0);
        assert!((4.0..=most).contains(&cycles), "{driver}: {cycles}");
        let shortest = number(&json, "/latency_us/p50");
        assert!(shortest < 200_000.0, "{driver}: its pauses are in it: {shortest} µs");
    }
}

#[test]
fn a_study_of_people_has_no_rate() {
    let server = ScriptedServer::start(Script::default());
    let url = server.url();
    let words = ["matrix", &url, "--payloads", "32", "--connections", "10", "--think", "50"];
    let (code, json) = ringload(&[&words[..], &["--seconds-per-row", "0.5"]].concat());
    assert_eq!(code, 0, "{json:#}");
    assert!(number(&json, "/rows/0/rate_per_second") <= 210.0, "{json:#}");
    let words = ["slow", &url, "--load", "echo", "--connections", "10", "--slow-share", "0"];
    let pace = ["--think", "50", "--duration", "0.5", "--payload", "32"];
    let (code, json) = ringload(&[&words[..], &pace].concat());
    assert_eq!(code, 0, "{json:#}");
    assert!(number(&json, "/alone/rate_per_second") <= 210.0, "{json:#}");
    assert_eq!(number(&json, "/think_milliseconds"), 50.0);
    let (code, json) = ringload(&[
        "search",
        &url,
        "--raise",
        "connections",
        "--think",
        "10..30",
        "--from",
        "4",
        "--to",
        "4",
        "--payload",
        "32",
        "--seconds-per-step",
        "0.3",
        "--slo",
        "p99<30s",
    ]);
    assert_eq!((code, number(&json, "/best")), (0, 4.0), "{json:#}");
}
