//! A topic on several shards: whoever listens gets the messages of each speaker without a gap, a
//! repetition or a change of order, and whoever listens all the time gets all of them.

use std::collections::BTreeMap;

use super::peer::{self, Fate, Peer, write_frame};
use super::{Simulation, for_seeds};
use crate::driver::ring::simulated::Odds;
use crate::handler::{Conn, Handler, Message};
use crate::protocol::Opcode;

struct Room;

impl Handler for Room {
    type State = ();

    fn on_open(&mut self, conn: &mut Conn<'_, ()>) {
        assert!(conn.subscribe("room"));
    }

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        conn.publish("room", message);
    }
}

/// The numbers of each speaker's messages as a peer received them.
fn heard(peer: &Peer) -> BTreeMap<u32, Vec<u32>> {
    let mut heard: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for message in &peer.messages {
        let number = |at: usize| u32::from_be_bytes(message[at..at + 4].try_into().unwrap());
        heard.entry(number(0)).or_default().push(number(4));
    }
    heard
}

fn simulate(seed: u64, odds: Odds, shards: usize) {
    let mut simulation = Simulation::new(seed, odds, shards, |_| Room);
    let witness = simulation.connect(|id| Peer::new(id, Vec::new(), Fate::Stay, false));
    let mut peers = vec![witness];
    while !peers[0].is_open {
        simulation.step(&mut peers);
    }
    let count = 2 + simulation.world.borrow_mut().dice.below(10);
    let mut said = BTreeMap::new();
    for speaker in 0..count as u32 {
        let (frames, fate, slow) = {
            let dice = &mut simulation.world.borrow_mut().dice;
            let (mut frames, messages) = (Vec::new(), dice.below(40) as u32);
            for number in 0..messages {
                let mut payload = [speaker.to_be_bytes(), number.to_be_bytes()].concat();
                let long = dice.below(8) == 0;
                payload.resize(8 + dice.below(if long { 5_000 } else { 100 }), 7);
                write_frame(&mut frames, true, Opcode::Binary, &payload, [1, 2, 3, 4]);
            }
            let (fate, slow) = peer::character(dice, frames.len());
            said.insert(speaker, (messages, fate));
            (frames, fate, slow)
        };
        peers.push(simulation.connect(|id| Peer::new(id, frames, fate, slow)));
    }
    simulation.run(&mut peers[1..]);
    let all = |peer: &Peer| {
        let heard = heard(peer);
        said.iter().all(|(speaker, (messages, fate))| {
            let count = heard.get(speaker).map_or(0, Vec::len) as u32;
            matches!(fate, Fate::Reset(_)) || count == *messages
        })
    };
    // What the last ones said may still be on its way.
    for _ in 0..10_000 {
        if all(&peers[0]) {
            break;
        }
        simulation.step(&mut peers);
    }
    assert!(all(&peers[0]), "whoever listens all the time hears everything");
    peers[0].leave();
    simulation.run(&mut peers);
    for peer in &peers {
        for (speaker, numbers) in heard(peer) {
            let first = numbers[0];
            let expected: Vec<u32> = (first..first + numbers.len() as u32).collect();
            assert_eq!(numbers, expected, "of speaker {speaker}");
        }
    }
    simulation.end();
}

#[test]
fn listeners_miss_nothing_on_one_shard() {
    for_seeds(60, |seed| simulate(seed, Odds::HOSTILE, 1));
}

#[test]
fn listeners_miss_nothing_on_two_shards() {
    for_seeds(60, |seed| simulate(seed, Odds::HOSTILE, 2));
}

#[test]
fn listeners_miss_nothing_on_four_shards() {
    for_seeds(60, |seed| simulate(seed, Odds::HOSTILE, 4));
}

#[test]
fn listeners_miss_nothing_with_a_gentle_kernel() {
    for_seeds(60, |seed| simulate(seed, Odds::GENTLE, 3));
}
