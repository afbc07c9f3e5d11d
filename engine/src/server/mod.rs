//! Builds a server: binds or inherits, picks the driver, starts and pins the shards, drains them,
//! hands over. It handles no connection but those of the admin address.
#![forbid(unsafe_code)]

mod admin;
mod bell;
mod builder;
mod choice;
mod controller;
mod error;
mod handover;
mod inherited;
mod listener;
mod mounting;
mod operating;
mod running;
mod topics;
mod tuning;
mod unix_socket;

pub use builder::{Server, ServerBuilder, ShardInfo};
pub use choice::{Cores, Driver, DriverInUse, probe_ring};
pub use controller::Controller;
pub use error::{Result, SetupError};
pub use running::Running;

pub use crate::handler::{BadSetting, TrustedProxies};
pub use crate::latency::Latency;
