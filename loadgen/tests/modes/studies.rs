//! The modes that make several runs: they go through all of them and come to the result that the
//! server allows. Speeds are not judged.

use std::time::{Duration, Instant};

use ringsock::Driver;

use crate::program::ringload;
use crate::server::TestServer;
use crate::{assert_sound, drivers, number, run};

const EPOLL: (Driver, &str) = (Driver::Epoll, "epoll");

#[test]
fn a_matrix_has_every_combination_once() {
    for driver in drivers() {
        let words = ["--payloads", "16,300", "--connections", "1,3", "--rates", "max,200"];
        let words = [&words[..], &["--seconds-per-row", "0.1", "--verify", "all"]].concat();
        let (code, json) = run(driver, "matrix", "/", &words);
        assert_eq!(code, 0, "{json:#}");
        let rows = json["rows"].as_array().unwrap();
        let key = |row: &serde_json::Value| {
            let rate = row["demanded_rate"].as_f64();
            (number(row, "/payload_bytes") as u64, number(row, "/connections") as u64, rate)
        };
        let mut due = Vec::new();
        for payload in [16, 300] {
            for connections in [1, 3] {
                due.extend([None, Some(200.0)].map(|rate| (payload, connections, rate)));
            }
        }
        assert_eq!(rows.iter().map(key).collect::<Vec<_>>(), due);
        rows.iter().for_each(assert_sound);
    }
}

#[test]
fn a_matrix_of_fan_outs_has_plain_numbers_for_programs_and_is_held_against_conditions() {
    let csv = std::env::temp_dir().join(format!("ringload-matrix-{}.csv", std::process::id()));
    for driver in drivers() {
        for (expected, due) in [("reach=1,loss=0", 0), ("reach<1", 3)] {
            let words = ["--load", "fanout", "--payloads", "100", "--connections", "2,5"];
            let words = [&words[..], &["--rates", "max,200", "--seconds-per-row", "0.3"]].concat();
            let outputs = ["--csv", csv.to_str().unwrap(), "--expect", expected];
            let (code, json) =
                run(driver, "matrix", "/fanout", &[&words[..], &outputs[..]].concat());
            assert_eq!(code, due, "{json:#}");
            assert_eq!(json["load"], "fanout");
            let rows = json["rows"].as_array().unwrap();
            assert!(rows.iter().all(|row| number(row, "/reach") == 1.0), "{json:#}");
        }
        let text = std::fs::read_to_string(&csv).unwrap();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
        assert_eq!(lines.len(), 5, "{text}");
        let column = |name: &str| lines[0].iter().position(|known| *known == name).unwrap();
        let (rate, demanded) = (column("received_per_second"), column("demanded_per_second"));
        for (number, row) in lines[1..].iter().enumerate() {
            assert_eq!(row.len(), lines[0].len(), "{text}");
            assert!(row[rate].parse::<f64>().is_ok_and(|rate| rate > 0.0), "{text}");
            // A closed loop demands no rate.
            assert_eq!(row[demanded], ["", "200"][number % 2], "{text}");
            let is_plain = |cell: &&str| cell.is_empty() || cell.parse::<f64>().is_ok();
            assert!(row.iter().all(is_plain), "{text}");
        }
    }
    std::fs::remove_file(csv).unwrap();
}

#[test]
fn a_search_ends_where_the_conditions_do() {
    let words = ["--from", "50", "--to", "100", "--seconds-per-step", "0.5", "--connections", "2"];
    let search = |slo| run(EPOLL, "search", "/", &[&words[..], &["--slo", slo]].concat());
    let (code, json) = search("p99<30s");
    assert_eq!((code, number(&json, "/best")), (0, 100.0), "{json:#}");
    assert!(json["failed_at"].is_null());
    // Nothing is decided by one try.
    assert_eq!(json["steps"].as_array().unwrap().len(), 4, "{json:#}");
    let (code, json) = search("p50<1ns");
    assert_eq!((code, number(&json, "/best")), (1, 0.0), "{json:#}");
    let missed = json["steps"][0]["missed"][0].as_str().unwrap();
    assert!(missed.starts_with("p50<1ns: it was "), "{missed}");
}

#[test]
fn a_search_may_raise_the_subscribers_of_a_fan_out() {
    let words = ["--load", "fanout", "--raise", "connections", "--from", "2", "--to", "4"];
    let words = [&words[..], &["--slo", "p99<30s", "--seconds-per-step", "0.3"]].concat();
    let (code, json) = run(EPOLL, "search", "/fanout", &words);
    assert_eq!((code, number(&json, "/best")), (0, 4.0), "{json:#}");
}

#[test]
fn a_server_that_refuses_some_connections_is_measured_with_the_others() {
    for driver in drivers() {
        let server = TestServer::start_limited(driver.0, 10);
        let run = |mode: &str, path: &str, words: &[&str]| {
            let url = server.url(path);
            let fixed = [mode, &url, "--driver", driver.1, "--json", "-", "--connections", "25"];
            let finished = ringload(&[&fixed[..], words].concat());
            (finished.status.code().unwrap(), finished.json())
        };
        let short = ["--duration", "0.3", "--warmup", "0"];
        for (mode, path, words) in [
            ("echo", "/", &short[..]),
            ("echo", "/", &["--rate", "500", "--duration", "0.3", "--warmup", "0"]),
            ("echo", "/", &["--messages", "20"]),
            ("fanout", "/fanout", &short),
            ("fanout", "/fanout", &["--rate", "300", "--duration", "0.3", "--warmup", "0"]),
            ("idle", "/", &["--hold", "0.1"]),
        ] {
            let (code, json) = run(mode, path, words);
            assert_eq!(code, 1, "{mode}: {json:#}");
            assert_eq!(number(&json, "/errors/unopened_connections"), 15.0, "{mode}: {json:#}");
            assert_eq!(number(&json, "/errors/lost_messages"), 0.0, "{mode}: {json:#}");
            assert!(number(&json, "/checked/received") >= 10.0, "{mode}: {json:#}");
            let first = json["errors"]["first"].as_str().unwrap();
            assert!(first.contains(" was not opened: 127.0.0.1:"), "{first}");
        }
        let (code, json) = run("churn", "/", &short);
        assert_eq!(code, 1, "{json:#}");
        assert!(number(&json, "/cycles") > 0.0, "{json:#}");
        assert!(number(&json, "/errors/unopened_connections") >= 15.0, "{json:#}");
    }
}

#[test]
fn a_search_finds_how_many_connections_a_server_lets_in() {
    for driver in drivers() {
        let server = TestServer::start_limited(driver.0, 10);
        let url = server.url("/");
        let words = ["search", &url, "--driver", driver.1, "--json", "-", "--slo", "p99<30s"];
        let more = ["--raise", "connections", "--from", "4", "--to", "64", "--rate", "100"];
        let finished = ringload(&[&words[..], &more, &["--seconds-per-step", "0.2"]].concat());
        let json = finished.json();
        assert_eq!(finished.status.code(), Some(0), "{json:#}");
        assert_eq!((number(&json, "/best"), number(&json, "/failed_at")), (10.0, 11.0), "{json:#}");
    }
}

#[test]
fn a_comparison_of_a_server_with_itself_tells_all_rounds() {
    for driver in drivers() {
        let other = TestServer::start(driver.0);
        let url = other.url("/");
        let words = [&url, "--rounds", "3", "--seconds-per-run", "0.4", "--connections", "2"];
        let (code, json) = run(driver, "compare", "/", &words);
        assert_eq!(code, 0, "{json:#}");
        assert_eq!(json["rounds"].as_array().unwrap().len(), 3);
        let ratio = &json["ratios"][0];
        let (low, high) = (number(ratio, "/low"), number(ratio, "/high"));
        assert!(low <= number(ratio, "/ratio") && number(ratio, "/ratio") <= high, "{json:#}");
        assert_eq!(ratio["what"], "messages a second");
    }
}

#[test]
fn a_comparison_of_fan_outs_is_held_against_conditions_on_its_ratios() {
    let other = TestServer::start(EPOLL.0);
    let url = other.url("/fanout");
    for (expected, due) in [("rate-ratio>0.001,loss=0", 0), ("rate-ratio-high<0.001", 3)] {
        let words = [&url, "--load", "fanout", "--rounds", "2", "--seconds-per-run", "0.3"];
        let words = [&words[..], &["--connections", "3", "--expect", expected]].concat();
        let (code, json) = run(EPOLL, "compare", "/fanout", &words);
        assert_eq!(code, due, "{json:#}");
        assert_eq!(json["ratios"][0]["what"], "deliveries a second");
    }
}

#[test]
fn slow_clients_take_less_than_the_others() {
    for (load, path) in [("fanout", "/fanout"), ("echo", "/")] {
        for driver in drivers() {
            let words = ["--load", load, "--connections", "10", "--slow-share", "0.3"];
            let words = [&words[..], &["--rate", "100", "--duration", "0.5"]].concat();
            let (code, json) = run(driver, "slow", path, &words);
            assert_eq!(code, 0, "{json:#}");
            assert_eq!(number(&json, "/quick_connections"), 7.0);
            for part in ["/alone", "/beside"] {
                assert_sound(json.pointer(part).unwrap());
                assert!(number(&json, &format!("{part}/latency_us/count")) > 10.0, "{json:#}");
            }
        }
    }
}

#[test]
fn slow_clients_that_are_far_behind_do_not_hold_up_the_end() {
    for driver in drivers() {
        for (load, path) in [("fanout", "/fanout"), ("echo", "/")] {
            let began = Instant::now();
            let words = ["--load", load, "--connections", "10", "--slow-share", "0.3"];
            let pace = ["--slow-bytes-per-second", "100000", "--rate", "500"];
            let words = [&words[..], &pace, &["--payload", "4096", "--duration", "0.5"]].concat();
            let (_, json) = run(driver, "slow", path, &words);
            assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
            // They read, and no more than they may but for the message that each begins with.
            let most = 3.0 * (100_000.0 * began.elapsed().as_secs_f64() + 4096.0);
            let read = number(&json, "/slow_bytes_read");
            assert!(read > 0.0 && read <= most, "{read} of {most}: {json:#}");
        }
    }
}

#[test]
fn pings_of_idle_connections_are_answered_and_timed() {
    for driver in drivers() {
        let words = ["--connections", "20", "--hold", "0.6", "--ping-interval", "0.2"];
        let (code, json) = run(driver, "idle", "/", &words);
        assert_eq!(code, 0, "{json:#}");
        assert!(number(&json, "/ping_us/count") >= 40.0, "{json:#}");
        assert!(number(&json, "/schedule_lag_us/count") >= 40.0, "{json:#}");
        assert_eq!(number(&json, "/pings_lost"), 0.0);
    }
}

#[test]
fn several_publishers_reach_everybody_in_both_loops() {
    for driver in drivers() {
        for pace in [&["--pipeline", "2"][..], &["--rate", "300"]] {
            let words = ["--connections", "12", "--publishers", "3", "--duration", "0.4"];
            let words = [&words[..], &["--warmup", "0", "--verify", "all"], pace].concat();
            let (code, json) = run(driver, "fanout", "/fanout", &words);
            assert_eq!(code, 0, "{json:#}");
            assert_sound(&json);
            assert_eq!(number(&json, "/reach/share"), 1.0);
            assert!(number(&json, "/completion_us/count") > 0.0, "{json:#}");
        }
    }
}
