//! Echoes: every peer gets back what it sent, in order and byte for byte, whatever happens to others.

use super::peer::{self, Fate, Peer, write_frame};
use super::{Simulation, for_seeds};
use crate::driver::ring::simulated::{Dice, Odds};
use crate::handler::{Conn, Handler, Message};
use crate::protocol::Opcode;

struct Echo;

impl Handler for Echo {
    type State = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        let _queued = conn.send(message);
    }
}

/// What a peer sends: frames, and the messages and Pings in them.
struct Script {
    frames: Vec<u8>,
    messages: Vec<Vec<u8>>,
    pings: Vec<Vec<u8>>,
}

impl Script {
    fn new(dice: &mut Dice, peer: usize) -> Self {
        let mut script = Self { frames: Vec::new(), messages: Vec::new(), pings: Vec::new() };
        for number in 0..dice.below(30) {
            let bytes = match dice.below(20) {
                0 => 66_000 + dice.below(300_000),
                1..4 => dice.below(20_000),
                _ => dice.below(300),
            };
            let fill = |at: usize| (at * 7 + number * 31 + peer * 101) as u8;
            let payload: Vec<u8> = (0..bytes).map(fill).collect();
            script.write(dice, &payload, number as u8);
            script.messages.push(payload);
        }
        script
    }

    /// One message, whole or in pieces, with Pings in between.
    fn write(&mut self, dice: &mut Dice, payload: &[u8], number: u8) {
        let mut rest = payload;
        let mut opcode = Opcode::Binary;
        let mask = [number, 0x5a, dice.below(256) as u8, 0];
        while dice.once_in(4) && !rest.is_empty() {
            let (piece, after) = rest.split_at(dice.below(rest.len() + 1));
            write_frame(&mut self.frames, false, opcode, piece, mask);
            (rest, opcode) = (after, Opcode::Continuation);
            if dice.once_in(3) {
                let ping = vec![self.pings.len() as u8, number];
                write_frame(&mut self.frames, true, Opcode::Ping, &ping, mask);
                self.pings.push(ping);
            }
        }
        write_frame(&mut self.frames, true, opcode, rest, mask);
    }
}

fn check(peer: &Peer, script: &Script) {
    let count = peer.messages.len();
    assert!(peer.messages[..] == script.messages[..count], "what came is what was sent, in order");
    let mut pings = script.pings.iter();
    assert!(peer.pongs.iter().all(|pong| pings.any(|ping| ping == pong)), "{:?}", peer.pongs);
    match peer.fate {
        Fate::Close => {
            assert_eq!(count, script.messages.len(), "everything came back");
            assert_eq!(peer.close, Some(1000));
        }
        Fate::Finish => assert_eq!(count, script.messages.len(), "everything came back"),
        Fate::Reset(_) | Fate::Stay => {}
    }
}

fn simulate(seed: u64, odds: Odds) -> Simulation<Echo> {
    let mut simulation = Simulation::new(seed, odds, 1, |_| Echo);
    let count = 1 + simulation.world.borrow_mut().dice.below(12);
    let (mut peers, mut scripts) = (Vec::new(), Vec::new());
    for number in 0..count {
        let script = Script::new(&mut simulation.world.borrow_mut().dice, number);
        let frames = script.frames.clone();
        let dice = &mut simulation.world.borrow_mut().dice;
        let (fate, slow) = peer::character(dice, frames.len());
        scripts.push(script);
        peers.push((frames, fate, slow));
    }
    let mut peers: Vec<Peer> = peers
        .into_iter()
        .map(|(frames, fate, slow)| simulation.connect(|id| Peer::new(id, frames, fate, slow)))
        .collect();
    simulation.run(&mut peers);
    peers.iter().zip(&scripts).for_each(|(peer, script)| check(peer, script));
    simulation
}

#[test]
fn every_byte_comes_back_from_a_gentle_kernel() {
    for_seeds(100, |seed| {
        let counters = simulate(seed, Odds::GENTLE).end();
        assert_eq!(counters.stale_completions, 0);
    });
}

#[test]
fn every_byte_comes_back_from_a_hostile_kernel() {
    let mut all = [0; 8];
    let seen = std::cell::RefCell::new(&mut all);
    for_seeds(300, |seed| {
        let simulation = simulate(seed, Odds::HOSTILE);
        let mishaps = simulation.world.borrow().mishaps;
        simulation.end();
        let counts = [
            mishaps.interrupted,
            mishaps.multishot_ends,
            mishaps.no_buffer,
            mishaps.short_sends,
            mishaps.late_cancels,
            mishaps.stale,
            mishaps.failed_accepts,
            mishaps.resets,
        ];
        seen.borrow_mut().iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    });
    let single = std::env::var_os("RINGSOCK_SEED").is_some();
    assert!(single || all.iter().all(|count| *count > 10), "everything went wrong often: {all:?}");
}
