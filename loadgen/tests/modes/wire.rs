//! What is told of the wire, against servers whose every byte is known. Nothing is lost here.

use ringsock::Driver;
use serde_json::Value;

use crate::program::ringload;
use crate::server::TestServer;
use crate::{drivers, number, run};

/// Long enough for the server to compress it.
const TEMPLATE: &str = "{connection} says hello hello hello hello hello hello hello hello hello hello hello \
    to everybody who listens and to everybody who does not, again and again and again and again, \
    in the words that were chosen for what it is worth to be said: {sequence}";

/// Bytes and messages of one direction.
fn carried(json: &Value, way: &str) -> (f64, f64) {
    let of = |what: &str| number(json, &format!("/wire/{way}/{what}"));
    let each = of("bytes_per_message");
    assert!((each - of("bytes") / of("messages")).abs() < 1e-9, "{json:#}");
    let ratio = of("payload_bytes_per_message") / each;
    assert!((of("payload_to_wire") - ratio).abs() < 1e-9, "{json:#}");
    (of("bytes"), of("messages"))
}

#[test]
fn a_number_of_echoes_is_on_the_wire_to_the_byte() {
    for driver in drivers() {
        // Headers of 2, 4 and 10 bytes, and a mask of 4 to the server.
        for (payload, header) in [("20", 2.0), ("126", 4.0), ("70000", 10.0)] {
            let words = ["--connections", "5", "--pipeline", "3", "--messages", "40"];
            let (code, json) =
                run(driver, "echo", "/", &[&words[..], &["--payload", payload]].concat());
            assert_eq!(code, 0, "{json:#}");
            let frame = payload.parse::<f64>().unwrap() + header;
            assert_eq!(carried(&json, "sent"), (200.0 * (frame + 4.0), 200.0), "{json:#}");
            assert_eq!(carried(&json, "received"), (200.0 * frame, 200.0), "{json:#}");
        }
    }
}

#[test]
fn a_time_of_echoes_is_on_the_wire_but_for_what_is_under_way_at_its_edges() {
    for driver in drivers() {
        for pace in [&["--pipeline", "2"][..], &["--rate", "2000"]] {
            let words = ["--connections", "4", "--duration", "0.4", "--warmup", "0.1"];
            let (code, json) = run(driver, "echo", "/", &[&words[..], pace].concat());
            assert_eq!(code, 0, "{json:#}");
            for (way, frame) in [("sent", 26.0), ("received", 22.0)] {
                let (bytes, messages) = carried(&json, way);
                assert!(messages > 100.0, "{json:#}");
                assert!((bytes - messages * frame).abs() <= 2000.0 * frame, "{json:#}");
                let payload = number(&json, &format!("/wire/{way}/payload_bytes_per_message"));
                assert_eq!(payload, 20.0, "{json:#}");
            }
        }
    }
}

#[test]
fn compression_is_told_as_payload_to_wire_each_way() {
    for driver in drivers() {
        let server = TestServer::start_compressing(driver.0);
        let url = server.url("/");
        let mut ratios = Vec::new();
        for deflate in ["--deflate=threshold=0", "--deflate=takeover,threshold=0"] {
            let words = ["echo", &url, "--driver", driver.1, deflate, "--template", TEMPLATE];
            let more = ["--connections", "3", "--messages", "50", "--verify", "all"];
            let json = ringload(&[&words[..], &more, &["--json", "-"]].concat()).json();
            let (sent, received) = (carried(&json, "sent"), carried(&json, "received"));
            assert_eq!((sent.1, received.1), (150.0, 150.0), "{json:#}");
            let payload = number(&json, "/wire/sent/payload_bytes_per_message");
            assert_eq!(payload, number(&json, "/payload_bytes"), "{json:#}");
            assert!(number(&json, "/wire/received/payload_to_wire") > 1.2, "{json:#}");
            ratios.push(number(&json, "/wire/sent/payload_to_wire"));
        }
        assert!(ratios[0] > 1.2 && ratios[1] > 1.5 * ratios[0], "{ratios:?}");
        let words = ["echo", &url, "--deflate=threshold=0", "--template", TEMPLATE];
        let text = ringload(&[&words[..], &["--messages", "5"]].concat()).stdout;
        assert!(text.contains("times that)"), "{text}");
    }
}

#[test]
fn published_messages_go_out_once_and_come_in_for_everybody() {
    for driver in drivers() {
        for pace in [&["--pipeline", "1"][..], &["--rate", "200"]] {
            let words = ["--connections", "6", "--duration", "0.4", "--warmup", "0"];
            let (code, json) = run(driver, "fanout", "/fanout", &[&words[..], pace].concat());
            assert_eq!(code, 0, "{json:#}");
            let mut carried_messages = Vec::new();
            for (way, frame, share) in [("sent", 106.0, 1.0), ("received", 102.0, 6.0)] {
                let (bytes, messages) = carried(&json, way);
                carried_messages.push(messages / share);
                // What was under way at the edges has been sent, or received, in part.
                assert!((bytes / messages / frame - 1.0).abs() < 0.2, "{json:#}");
            }
            // Shards are not asked at the same moment.
            let [published, delivered] = carried_messages[..] else { unreachable!() };
            assert!((0.5..2.0).contains(&(delivered / published)), "{json:#}");
        }
    }
}

#[test]
fn rows_tell_their_wire_as_well() {
    let words = ["--connections", "2", "--seconds-per-row", "0.2"];
    let (code, json) = run((Driver::Epoll, "epoll"), "headers", "/", &words);
    assert_eq!(code, 0, "{json:#}");
    let rows = json["rows"].as_array().unwrap();
    for row in rows.iter().filter(|row| number(row, "/messages") > 2000.0) {
        let payload = number(row, "/payload_bytes");
        let each = number(row, "/wire/sent/bytes_per_message");
        let due = payload + number(row, "/client_header_bytes");
        assert!((each / due - 1.0).abs() < 0.05, "{row:#}");
        assert_eq!(number(row, "/wire/sent/payload_bytes_per_message"), payload, "{row:#}");
    }
    let words = ["--payloads", "100", "--connections", "2", "--seconds-per-row", "0.2"];
    let (code, json) = run((Driver::Epoll, "epoll"), "matrix", "/", &words);
    assert_eq!(code, 0, "{json:#}");
    assert!(number(&json["rows"][0], "/wire/received/bytes") > 0.0, "{json:#}");
}

#[test]
fn buckets_hold_every_latency_and_give_the_same_quantiles() {
    let words = ["--connections", "3", "--rate", "1000", "--duration", "0.5", "--warmup", "0"];
    let (code, json) = run((Driver::Epoll, "epoll"), "echo", "/", &words);
    assert_eq!(code, 0, "{json:#}");
    for summary in ["latency_us", "uncorrected_latency_us", "schedule_lag_us"] {
        let summary = &json[summary];
        let buckets = summary["buckets"].as_array().unwrap();
        let count: f64 = buckets.iter().map(|bucket| number(bucket, "/1")).sum();
        assert_eq!(count, number(summary, "/count"), "{json:#}");
        let ends: Vec<f64> = buckets.iter().map(|bucket| number(bucket, "/0")).collect();
        assert!(ends.is_sorted_by(|one, next| one < next), "{json:#}");
        assert_eq!(*ends.last().unwrap(), number(summary, "/max"), "{json:#}");
        let mut so_far = 0.0;
        let median = buckets.iter().find(|bucket| {
            so_far += number(bucket, "/1");
            so_far >= count / 2.0
        });
        assert_eq!(number(median.unwrap(), "/0"), number(summary, "/p50"), "{json:#}");
    }
    assert!(!json["timeline"].to_string().contains("buckets"), "{json:#}");
}
