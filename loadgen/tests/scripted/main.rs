//! Servers that do wrong on purpose and know exactly what they did: what the binary reports must be
//! the same. Both drivers make the load.

mod pace;
mod server;

use std::io::Read;
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use server::{Script, ScriptedServer};

/// Tries for a measurement of time: a busy machine delays server and client alike.
const TRIES: usize = 6;

fn drivers() -> Vec<&'static str> {
    if ringsock::server::probe_ring().is_ok() { vec!["epoll", "ring"] } else { vec!["epoll"] }
}

/// Runs a mode; its exit code and JSON.
fn ringload(words: &[&str]) -> (i32, Value) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ringload"))
        .args(words)
        .args(["--json", "-"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Results are longer than what a pipe holds.
    let (text, errors) = (read(child.stdout.take()), read(child.stderr.take()));
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(5));
    }
    let status = child.wait().unwrap();
    let (text, errors) = (text.join().unwrap(), errors.join().unwrap());
    let json =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{errors}"));
    (status.code().unwrap(), json)
}

/// Reads a pipe to its end.
fn read(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    thread::spawn(move || std::io::read_to_string(pipe.unwrap()).unwrap())
}

fn number(json: &Value, pointer: &str) -> f64 {
    let value = json.pointer(pointer).and_then(Value::as_f64);
    value.unwrap_or_else(|| panic!("no {pointer} in {json:#}"))
}

/// Echoes against a script.
fn echo(server: &ScriptedServer, driver: &str, words: &[&str]) -> (i32, Value) {
    let url = server.url();
    let fixed = ["echo", &url, "--driver", driver, "--warmup", "0", "--payload", "32"];
    ringload(&[&fixed[..], words].concat())
}

#[test]
fn a_delay_is_reported_to_the_millisecond() {
    for driver in drivers() {
        for delay_ms in [0.0, 20.0] {
            let delay = Duration::from_secs_f64(delay_ms / 1000.0);
            let server = ScriptedServer::start(Script { delay, ..Script::default() });
            for pace in [&["--rate", "200"][..], &["--pipeline", "1"], &["--pipeline", "3"]] {
                let words = [&["--connections", "4", "--duration", "0.6"], pace].concat();
                assert_delay(delay_ms, || echo(&server, driver, &words));
            }
        }
    }
}

/// Runs something until the median latency is that, to the millisecond.
fn assert_delay(delay_ms: f64, run: impl Fn() -> (i32, Value)) {
    let off = (0..TRIES).map(|_| {
        let (code, json) = run();
        assert_eq!(code, 0, "{json:#}");
        number(&json, "/latency_us/p50") / 1000.0 - delay_ms
    });
    // Nothing can be quicker than the delay, whatever the machine does meanwhile.
    let off = off.inspect(|off| assert!(*off >= 0.0, "{off} ms"));
    let found: Vec<f64> = off.take_while(|off| *off >= 1.0).collect();
    assert!(found.len() < TRIES, "{delay_ms} ms, off by {found:?} ms");
}

#[test]
fn losses_duplicates_and_swaps_are_counted_exactly() {
    for driver in drivers() {
        for script in [
            Script { repeat_every: 7, ..Script::default() },
            Script { lose_every: 11, repeat_every: 13, swap_every: 17, ..Script::default() },
        ] {
            let server = ScriptedServer::start(script);
            let words = ["--connections", "5", "--rate", "2000", "--duration", "0.5"];
            let (code, json) = echo(&server, driver, &words);
            assert_eq!(code, 1, "{json:#}");
            assert_reported(&server, &json);
        }
    }
}

/// What is reported is what was done, message for message.
fn assert_reported(server: &ScriptedServer, json: &Value) {
    let did = server.did();
    assert!(did.lost + did.repeated + did.swapped > 0, "{did:?}");
    for (pointer, did) in [
        ("/errors/lost_messages", did.lost),
        ("/errors/duplicated_messages", did.repeated),
        ("/errors/reordered_messages", did.swapped),
        ("/errors/wrong_messages", 0),
        ("/errors/lost_connections", 0),
        ("/checked/sent", did.received),
    ] {
        assert_eq!(number(json, pointer), did as f64, "{pointer}: {json:#}");
    }
}

#[test]
fn a_closed_loop_counts_exactly_and_goes_on_after_losses() {
    for driver in drivers() {
        for (script, pipeline) in [
            (Script { repeat_every: 10, ..Script::default() }, "1"),
            (Script { lose_every: 50, repeat_every: 13, swap_every: 17, ..Script::default() }, "8"),
            // Nothing overtakes a message that is alone, so its loss is found by its age.
            (Script { lose_every: 50, repeat_every: 13, ..Script::default() }, "1"),
        ] {
            let server = ScriptedServer::start(script);
            let words = ["--connections", "4", "--pipeline", pipeline, "--duration", "1.5"];
            let words = [&words[..], &["--answer-timeout", "0.2"]].concat();
            let (code, json) = echo(&server, driver, &words);
            assert_eq!(code, 1, "{json:#}");
            assert_reported(&server, &json);
            let did = server.did();
            let losses = if script.lose_every > 0 { 8 } else { 0 };
            assert!(did.lost >= losses, "{driver}: it stopped at the first losses: {did:?}");
            // No answer of loopback comes in less than a microsecond.
            assert!(number(&json, "/latency_us/p50") > 1.0, "{json:#}");
        }
    }
}

#[test]
fn a_stall_is_in_the_corrected_latencies_of_all_that_were_due_meanwhile() {
    const STALL_MS: f64 = 400.0;
    for driver in drivers() {
        let stall = Some((100, Duration::from_secs_f64(STALL_MS / 1000.0)));
        let server = ScriptedServer::start(Script { stall, ..Script::default() });
        // One message under way: what is due during the stall waits and is sent after it.
        let words = ["--connections", "1", "--rate", "200", "--duration", "1.6", "--pipeline", "1"];
        let (code, json) = echo(&server, driver, &words);
        assert_eq!(code, 0, "{json:#}");
        let max = number(&json, "/latency_us/max") / 1000.0;
        assert!((STALL_MS..STALL_MS * 1.5).contains(&max), "{driver}: {max} ms");
        // A quarter of the run was due during the stall, and waited half of it on average.
        let corrected = number(&json, "/latency_us/p90") / 1000.0;
        assert!((150.0..STALL_MS).contains(&corrected), "{driver}: {corrected} ms");
        let uncorrected = number(&json, "/uncorrected_latency_us/p90") / 1000.0;
        assert!(uncorrected < 100.0, "{driver}: only one message saw the stall: {uncorrected} ms");
        assert!(number(&json, "/schedule_lag_us/p90") / 1000.0 > 150.0, "{driver}");
    }
}

#[test]
fn what_is_never_answered_counts_with_its_age_in_both_loops() {
    for driver in drivers() {
        for (pace, silent_from, expected) in [
            (&["--rate", "400"][..], 50, "p99<500ms,loss<9999"),
            // A closed loop asks a silent server for little.
            (&["--pipeline", "2"], 500, "max<500ms,loss<9999"),
        ] {
            let script = Script { silent_from: Some(silent_from), ..Script::default() };
            let server = ScriptedServer::start(script);
            let words = ["--connections", "4", "--duration", "1", "--expect", expected];
            let (code, json) = echo(&server, driver, &[&words[..], pace].concat());
            assert_eq!(code, 3, "the percentiles are not those of survivors: {json:#}");
            let (did, max) = (server.did(), number(&json, "/latency_us/max") / 1e6);
            assert_eq!(number(&json, "/errors/lost_messages"), did.lost as f64, "{json:#}");
            let counted = number(&json, "/latency_us/count");
            assert!(counted >= did.lost as f64 && counted <= did.received as f64, "{json:#}");
            // They were waited for, and none is older than the run.
            assert!((1.0..20.0).contains(&max), "{driver}: {max} s");
            let warning = json["warnings"].to_string();
            assert!(warning.contains(&format!("{} messages had no answer", did.lost)), "{warning}");
        }
    }
}

#[test]
fn a_lost_connection_loses_what_it_owed_and_nothing_else() {
    for driver in drivers() {
        let delay = Duration::from_millis(300);
        let script = Script { delay, first_leaves_at: Some(20), ..Script::default() };
        let server = ScriptedServer::start(script);
        let words = ["--connections", "10", "--rate", "2000", "--duration", "0.6"];
        let (code, json) = echo(&server, driver, &words);
        assert_eq!((code, number(&json, "/errors/lost_connections")), (1, 1.0), "{json:#}");
        // Each connection is owed some 60 answers at any time, the others 540 at the end.
        let lost = number(&json, "/errors/lost_messages");
        assert!((1.0..300.0).contains(&lost), "{driver}: {json:#}");
        let all =
            lost + number(&json, "/checked/received") + number(&json, "/errors/unsent_messages");
        assert_eq!((all, number(&json, "/latency_us/count")), (1200.0, 1200.0), "{json:#}");

        // A closed loop with a number of messages ends when nobody owes any more.
        let script = Script { first_leaves_at: Some(20), ..Script::default() };
        let server = ScriptedServer::start(script);
        let url = server.url();
        let words = ["echo", &url, "--driver", driver, "--connections", "3", "--messages", "100"];
        let (code, json) = ringload(&words);
        assert_eq!((code, number(&json, "/checked/received")), (1, 219.0), "{json:#}");
        assert_eq!(number(&json, "/errors/lost_messages"), 81.0, "{json:#}");
    }
}

/// A fan-out against a script.
fn fan_out(server: &ScriptedServer, driver: &str, words: &[&str]) -> (i32, Value) {
    let url = server.url();
    let fixed = ["fanout", &url, "--driver", driver, "--warmup", "0", "--payload", "32"];
    ringload(&[&fixed[..], words].concat())
}

/// What is reported of a fan-out is what was done to all and to each.
fn assert_fan_out_reported(server: &ScriptedServer, json: &Value, subscribers: u64) {
    let did = server.did();
    let due = did.received * subscribers;
    for (pointer, did) in [
        ("/reach/published", did.received),
        ("/reach/deliveries_due", due),
        ("/reach/deliveries", due - did.lost),
        ("/errors/lost_messages", did.lost),
        ("/errors/duplicated_messages", did.repeated),
        ("/errors/reordered_messages", did.swapped),
        ("/errors/wrong_messages", 0),
        ("/errors/lost_connections", 0),
        // None is left out: those that never came count with their age.
        ("/latency_us/count", due),
        ("/completion_us/count", did.received),
        ("/subscribers/subscribers", subscribers),
    ] {
        assert_eq!(number(json, pointer), did as f64, "{pointer}: {json:#}");
    }
    let worst = json["subscribers"]["worst"].as_array().unwrap();
    let sum = |field: &str| worst.iter().map(|one| one[field].as_u64().unwrap()).sum::<u64>();
    for (field, did) in
        [("lost", did.lost), ("duplicates", did.repeated), ("reordered", did.swapped)]
    {
        assert_eq!(sum(field), did, "{field} of each: {json:#}");
    }
}

#[test]
fn losses_duplicates_and_swaps_of_a_fan_out_are_counted_exactly_for_each_subscriber() {
    for driver in drivers() {
        for pace in [&["--rate", "1000"][..], &["--pipeline", "20", "--answer-timeout", "0.2"]] {
            let script =
                Script { lose_every: 31, repeat_every: 13, swap_every: 17, ..Script::default() };
            let server = ScriptedServer::start_fan_out(script);
            let words = ["--connections", "5", "--duration", "0.8"];
            let (code, json) = fan_out(&server, driver, &[&words[..], pace].concat());
            assert_eq!(code, 1, "{json:#}");
            let did = server.did();
            assert!(did.lost > 10 && did.repeated > 10 && did.swapped > 10, "{driver}: {did:?}");
            assert_fan_out_reported(&server, &json, 5);
            assert_eq!(number(&json, "/subscribers/short"), 5.0, "{json:#}");
            let worst = number(&json, "/subscribers/worst_reach");
            assert!((0.9..0.99).contains(&worst), "{json:#}");
        }
    }
}

#[test]
fn a_stall_of_a_fan_out_is_in_the_latencies_of_all_that_were_due_meanwhile() {
    for driver in drivers() {
        let stall = Some((100, Duration::from_secs(1)));
        let server = ScriptedServer::start_fan_out(Script { stall, ..Script::default() });
        let words = ["--connections", "3", "--rate", "6000", "--duration", "1.4"];
        let (code, json) = fan_out(&server, driver, &words);
        assert_eq!(code, 0, "{json:#}");
        assert_fan_out_reported(&server, &json, 3);
        let (max, p50) = (number(&json, "/latency_us/max"), number(&json, "/latency_us/p50"));
        assert!((1e6..2e6).contains(&max), "{driver}: {max} µs");
        // Six thousand messages were due while nothing was answered.
        assert!(p50 > 2e5, "{driver}: the longest latencies are missing: {p50} µs");
        assert!(number(&json, "/subscribers/worst_latency_us") >= 1e6, "{json:#}");
    }
}

#[test]
fn a_delay_of_a_fan_out_is_reported_to_the_millisecond() {
    for driver in drivers() {
        let script = Script { delay: Duration::from_millis(20), ..Script::default() };
        let server = ScriptedServer::start_fan_out(script);
        let words = ["--connections", "3", "--rate", "100", "--duration", "0.6"];
        assert_delay(20.0, || fan_out(&server, driver, &words));
    }
}

#[test]
fn expectations_decide_the_exit_code() {
    let script = Script { lose_every: 10, ..Script::default() };
    for (expectation, due) in
        [("loss<1000", 0), ("loss=0", 3), ("p99<60s", 1), ("loss>0,duplicates=0,p99<1ns", 3)]
    {
        let server = ScriptedServer::start(script);
        let words = ["--connections", "2", "--rate", "500", "--duration", "0.2"];
        let words = [&words[..], &["--expect", expectation]].concat();
        let (code, json) = echo(&server, "epoll", &words);
        assert_eq!(code, due, "{expectation}: {json:#}");
    }
}

#[test]
fn random_arrivals_keep_the_rate() {
    let server = ScriptedServer::start(Script::default());
    let words = ["--connections", "3", "--rate", "2k", "--poisson", "--duration", "1"];
    let (code, json) = echo(&server, "epoll", &words);
    assert_eq!(code, 0, "{json:#}");
    let rate = number(&json, "/latency_us/count") / number(&json, "/seconds");
    assert!((1_700.0..2_300.0).contains(&rate), "{rate}");
}
