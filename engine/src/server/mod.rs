//! Builds a server: binds, picks the driver, starts and pins the shards, drains them. It handles
//! no connection.
#![forbid(unsafe_code)]

mod builder;
mod choice;
mod error;
mod listener;
mod running;

pub use builder::{Server, ServerBuilder, ShardInfo};
pub use choice::{Cores, Driver, DriverInUse, probe_ring};
pub use error::{Result, SetupError};
pub use running::{Controller, Running};
