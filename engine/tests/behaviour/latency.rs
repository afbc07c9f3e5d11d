//! The latency settings change when things happen and never what happens.

use std::thread;
use std::time::Duration;

use ringsock::server::Latency;

use crate::client::Client;
use crate::random::Random;
use crate::served::{Echo, Served, for_each_driver};

/// Each setting alone, and all of them.
fn settings() -> Vec<Latency> {
    let off = Latency::default();
    let spin = Duration::from_micros(200);
    let submission_poll = Duration::from_millis(5);
    let (busy_poll, defer_accept) = (Duration::from_micros(20), Duration::from_secs(1));
    vec![
        Latency { spin, ..off.clone() },
        Latency { busy_poll, ..off.clone() },
        Latency { submission_poll, ..off.clone() },
        Latency { defer_accept, ..off.clone() },
        Latency { fast_open_pending_max: 16, ..off.clone() },
        Latency { tcp_notsent_lowat_bytes: 2_048, ..off.clone() },
        Latency {
            spin,
            busy_poll,
            submission_poll,
            defer_accept,
            fast_open_pending_max: 16,
            tcp_notsent_lowat_bytes: 1,
        },
    ]
}

#[test]
fn every_setting_alone_and_all_of_them_serve_the_same_messages() {
    for_each_driver(|driver| {
        for (latency, tiny) in
            settings().into_iter().flat_map(|one| [(one.clone(), false), (one, true)])
        {
            let configure = |server: ringsock::ServerBuilder| {
                let server = server.latency(latency.clone());
                if tiny { server.tiny_buffers() } else { server }
            };
            let server = Served::configured(driver, configure, |_| Echo);
            let address = server.address;
            let clients: Vec<_> = (1..=3)
                .map(|seed| {
                    thread::spawn(move || {
                        let (mut client, mut random) = (Client::connect(address), Random(seed));
                        for size in [0, 20, 125, 126, 3000, 65_536, 200_000] {
                            let payload = random.bytes(size);
                            client.send_binary(&payload);
                            client.expect_message(2, &payload);
                            // Long enough for whatever spins or polls to go to sleep.
                            thread::sleep(Duration::from_millis(2));
                        }
                    })
                })
                .collect();
            for client in clients {
                client.join().unwrap_or_else(|_| panic!("{latency:?}, tiny {tiny}"));
            }
            server.stop();
        }
    });
}
