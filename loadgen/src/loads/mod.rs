//! What the shards do on their connections: one handler for each kind of load, and what these share.
//! How long a load lasts and what is told of it is decided by the modes.

mod audience;
mod breaks;
mod channel;
mod clock;
mod cycles;
mod fuzzed;
mod lanes;
mod opener;
mod outstanding;
mod paced;
mod pacing;
mod pending;
mod place;
mod publishers;
mod ramp;
mod settlers;
mod sluggards;
mod starting_line;
mod swarm;
mod tracker;

pub(crate) use audience::{Audience, FanoutPlan};
pub(crate) use channel::{Channel, Published};
pub(crate) use clock::Pace;
pub(crate) use cycles::{CyclePlan, Cycles};
pub(crate) use fuzzed::{FuzzedClient, Progress};
pub(crate) use lanes::PacedPlan;
pub(crate) use paced::Paced;
pub(crate) use place::Place;
pub(crate) use settlers::{IdlePlan, Settlers};
pub(crate) use sluggards::{Sluggards, SluggishPlan};
pub(crate) use starting_line::StartingLine;
pub(crate) use swarm::{EchoPlan, Swarm};
