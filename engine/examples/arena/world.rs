//! The world of the arena: players, pellets, and a step. It knows no sockets and no clock.

use std::collections::BTreeMap;

/// Width and height of the field.
const FIELD: f32 = 1000.0;
/// Steps from a standstill to full speed, and how far that goes in one step.
const INERTIA: f32 = 0.15;
const SPEED_MAX: f32 = 9.0;
const PELLETS: usize = 40;
/// Distance at which a player has reached a pellet.
const REACH: f32 = 26.0;

/// A player's number, shown in every snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PlayerId(pub(crate) u8);

#[derive(Debug, Default)]
struct Player {
    place: [f32; 2],
    speed: [f32; 2],
    wish: [f32; 2],
    score: u16,
}

#[derive(Debug)]
pub(crate) struct World {
    tick: u32,
    players: BTreeMap<PlayerId, Player>,
    pellets: [[f32; 2]; PELLETS],
    random: u32,
}

impl Default for World {
    fn default() -> Self {
        let mut world =
            Self { tick: 0, players: BTreeMap::new(), pellets: [[0.0; 2]; PELLETS], random: 7 };
        world.pellets = std::array::from_fn(|_| world.anywhere());
        world
    }
}

impl World {
    /// A new player anywhere, unless all 256 numbers are taken.
    pub(crate) fn join(&mut self) -> Option<PlayerId> {
        let free = (0..=u8::MAX).map(PlayerId).find(|id| !self.players.contains_key(id))?;
        let place = self.anywhere();
        self.players.insert(free, Player { place, ..Player::default() });
        Some(free)
    }

    pub(crate) fn leave(&mut self, player: PlayerId) {
        self.players.remove(&player);
    }

    /// Where a player wants to go; (127, 0) is to the right at full speed.
    pub(crate) fn steer(&mut self, player: PlayerId, x: i8, y: i8) {
        if let Some(player) = self.players.get_mut(&player) {
            let wish = [f32::from(x) / 127.0, f32::from(y) / 127.0];
            let length = wish[0].hypot(wish[1]).max(1.0);
            player.wish = wish.map(|part| part / length * SPEED_MAX);
        }
    }

    /// One thirtieth of a second.
    pub(crate) fn step(&mut self) {
        self.tick = self.tick.wrapping_add(1);
        let mut eaten = Vec::new();
        for player in self.players.values_mut() {
            for axis in 0..2 {
                player.speed[axis] += (player.wish[axis] - player.speed[axis]) * INERTIA;
                player.place[axis] = (player.place[axis] + player.speed[axis]).clamp(0.0, FIELD);
            }
            for (index, pellet) in self.pellets.iter().enumerate() {
                let away = [player.place[0] - pellet[0], player.place[1] - pellet[1]];
                if away[0].hypot(away[1]) < REACH && !eaten.contains(&index) {
                    player.score = player.score.saturating_add(1);
                    eaten.push(index);
                }
            }
        }
        for index in eaten {
            self.pellets[index] = self.anywhere();
        }
    }

    /// The state as players get it, little-endian: tick (4 bytes), number of players (2) and pellets
    /// (2); each player's number (1), x (2), y (2), score (2); each pellet's x (2), y (2).
    pub(crate) fn snapshot(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(8 + 7 * self.players.len() + 4 * PELLETS);
        out.extend_from_slice(&self.tick.to_le_bytes());
        out.extend_from_slice(&(self.players.len() as u16).to_le_bytes());
        out.extend_from_slice(&(PELLETS as u16).to_le_bytes());
        let put = |place: [f32; 2]| place.map(|part| (part as u16).to_le_bytes()).concat();
        for (id, player) in &self.players {
            out.push(id.0);
            out.extend(put(player.place));
            out.extend_from_slice(&player.score.to_le_bytes());
        }
        self.pellets.iter().for_each(|&pellet| out.extend(put(pellet)));
        out
    }

    fn anywhere(&mut self) -> [f32; 2] {
        [(); 2].map(|()| {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 17;
            self.random ^= self.random << 5;
            (self.random % FIELD as u32) as f32
        })
    }
}
