//! What the shards do on their connections: one handler for each kind of load, and what these share.
//! How long a load lasts and what is told of it is decided by the modes.

mod audience;
mod channel;
mod cycles;
mod fuzzed;
mod opener;
mod place;
mod settlers;
mod starting_line;
mod swarm;

pub(crate) use audience::Audience;
pub(crate) use channel::Channel;
pub(crate) use cycles::{CyclePlan, Cycles};
pub(crate) use fuzzed::{FuzzedClient, Progress};
pub(crate) use place::Place;
pub(crate) use settlers::{IdlePlan, Settlers};
pub(crate) use starting_line::StartingLine;
pub(crate) use swarm::{EchoPlan, Swarm};
