//! A shard that sleeps must wake for everything: bytes, commands, timers, tasks. It waits in
//! different places with and without tasks, so idle gaps of random length are tried with both, and
//! with changes between them.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use ringsock::client::Outbound;
use ringsock::{Conn, Driver, Handler, Message, RemotePeer, Text};

use crate::client::{Client, PATIENCE};
use crate::process::{self, ProcessorClock};
use crate::random::Random;
use crate::served::{Served, alone_for_each_driver};

/// Longest time a reply may take. A wake-up that was lost is made good by the next tick at the
/// earliest, and that is later.
const REPLY_TIME_MAX: Duration = Duration::from_millis(40);
/// Longest idle gap in microseconds: both sides of what the kernel and the runtime spin or poll.
const GAP_MICROS_MAX: u64 = 2_000;

/// Echoes directly or through a task; keeps a task alive if told to.
struct Sleeper {
    remotes: mpsc::Sender<RemotePeer>,
}

impl Handler for Sleeper {
    type State = ();

    fn on_open(&mut self, conn: &mut Conn<'_, ()>) {
        let _ = self.remotes.send(conn.peer().remote());
    }

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        let text = message.as_text().unwrap_or_default().to_owned();
        let peer = conn.peer();
        let wait = |millis: &str| Duration::from_millis(millis.parse().expect("a number"));
        match text.split_once(' ') {
            // A task that is alive and has nothing to do until its time has come.
            Some(("linger", millis)) => {
                let wait = wait(millis);
                ringsock::spawn(async move { monoio::time::sleep(wait).await });
                let _queued = conn.send(Text("lingering"));
            }
            Some(("task", _)) => ringsock::spawn(async move {
                let _ = peer.send(Text(text));
            }),
            Some(("timer", millis)) => {
                let wait = wait(millis);
                ringsock::spawn(async move {
                    monoio::time::sleep(wait).await;
                    let _ = peer.send(Text(text));
                });
            }
            _ => {
                let _queued = conn.send(Text(text));
            }
        }
    }
}

fn start(driver: Driver) -> (Served, Client, RemotePeer) {
    let (remotes, handles) = mpsc::channel();
    let server = Served::start(driver, move |_| Sleeper { remotes: remotes.clone() });
    let client = Client::connect(server.address);
    let remote = handles.recv_timeout(PATIENCE).unwrap();
    (server, client, remote)
}

/// Waits a random time, lets `ask` cause a reply, and counts it if it comes late although this
/// process had a core to run on.
fn late_replies(rounds: usize, seed: u64, mut ask: impl FnMut(usize) -> Duration) -> usize {
    let mut random = Random(seed);
    let mut late = 0;
    for round in 0..rounds {
        thread::sleep(Duration::from_micros(random.below(GAP_MICROS_MAX)));
        let starved = process::starved_time();
        let took = ask(round);
        if took > REPLY_TIME_MAX {
            let excused = process::starved_time().saturating_sub(starved);
            eprintln!("round {round}: a reply took {took:?}, {excused:?} of it without a core");
            late += usize::from(took.saturating_sub(excused) > REPLY_TIME_MAX);
        }
    }
    late
}

fn timed_echo(client: &mut Client, text: &str) -> Duration {
    let started = Instant::now();
    client.send_text(text);
    client.expect_text(text);
    started.elapsed()
}

/// How often a reply may be late for reasons that cannot be seen from here: the machine itself was
/// stopped for a moment. Wake-ups that get lost do so more often.
const LATE_MAX: usize = 2;

#[test]
fn without_tasks_no_wake_up_is_lost() {
    alone_for_each_driver(|driver| {
        let (_server, mut client, _) = start(driver);
        let late = late_replies(2_000, 1, |_| timed_echo(&mut client, "echo"));
        assert!(late <= LATE_MAX, "driver {driver:?}: {late} replies were late");
    });
}

#[test]
fn with_a_task_alive_no_wake_up_is_lost() {
    alone_for_each_driver(|driver| {
        let (_server, mut client, _) = start(driver);
        client.send_text("linger 60000");
        client.expect_text("lingering");
        let late = late_replies(2_000, 2, |_| timed_echo(&mut client, "echo"));
        assert!(late <= LATE_MAX, "driver {driver:?}: {late} replies were late");
    });
}

#[test]
fn between_tasks_and_none_no_wake_up_is_lost() {
    alone_for_each_driver(|driver| {
        let (_server, mut client, _) = start(driver);
        let mut random = Random(7);
        let late = late_replies(1_000, 3, |_| {
            if random.below(3) == 0 {
                client.send_text(&format!("linger {}", random.below(3)));
                client.expect_text("lingering");
            }
            let kind = if random.below(2) == 0 { "task now" } else { "echo" };
            timed_echo(&mut client, kind)
        });
        assert!(late <= LATE_MAX, "driver {driver:?}: {late} replies were late");
    });
}

#[test]
fn commands_of_other_threads_wake_a_shard_with_and_without_tasks() {
    alone_for_each_driver(|driver| {
        let (_server, mut client, remote) = start(driver);
        let mut random = Random(8);
        let late = late_replies(1_000, 4, |_| {
            if random.below(3) == 0 {
                client.send_text(&format!("linger {}", random.below(4)));
                client.expect_text("lingering");
            }
            let started = Instant::now();
            remote.send(Text("from outside")).unwrap();
            client.expect_text("from outside");
            started.elapsed()
        });
        assert!(late <= LATE_MAX, "driver {driver:?}: {late} commands were late");
    });
}

/// Publishes at a steady beat from its start on.
struct Beating;

impl Handler for Beating {
    type State = ();

    fn on_start(&mut self, _outbound: &mut Outbound<()>) {
        ringsock::spawn(async {
            loop {
                monoio::time::sleep(Duration::from_millis(20)).await;
                ringsock::publish("beats", Text("beat"));
            }
        });
    }

    fn on_open(&mut self, conn: &mut Conn<'_, ()>) {
        conn.subscribe("beats");
    }

    fn on_message(&mut self, _conn: &mut Conn<'_, ()>, _message: Message<'_>) {}
}

/// The bell is then rung by the thread that sleeps next.
#[test]
fn what_a_task_publishes_again_and_again_wakes_its_own_shard_each_time() {
    alone_for_each_driver(|driver| {
        let server = Served::start(driver, |_| Beating);
        let mut client = Client::connect(server.address);
        let late = late_replies(100, 9, |_| {
            let started = Instant::now();
            client.expect_text("beat");
            started.elapsed()
        });
        assert!(late <= LATE_MAX, "driver {driver:?}: {late} beats were late");
        server.stop();
    });
}

#[test]
fn timers_of_tasks_fire_in_time_while_nothing_else_happens() {
    alone_for_each_driver(|driver| {
        let (_server, mut client, _) = start(driver);
        let late = late_replies(60, 5, |round| {
            let millis = 1 + round as u64 % 30;
            let took = timed_echo(&mut client, &format!("timer {millis}"));
            assert!(took >= Duration::from_millis(millis), "not early: {took:?}");
            took.saturating_sub(Duration::from_millis(millis))
        });
        assert!(late <= LATE_MAX, "driver {driver:?}: {late} timers were late");
    });
}

#[test]
fn an_idle_server_uses_next_to_no_processor_time() {
    alone_for_each_driver(|driver| {
        let (_server, mut client, _) = start(driver);
        for with_task in [false, true] {
            if with_task {
                client.send_text("linger 60000");
                client.expect_text("lingering");
            }
            let clock = ProcessorClock::new();
            let before = clock.used();
            thread::sleep(Duration::from_millis(700));
            let used = clock.used() - before;
            let what = format!("driver {driver:?}, task alive: {with_task}");
            assert!(used <= Duration::from_millis(40), "{what}: {used:?} in 700 ms");
        }
    });
}
