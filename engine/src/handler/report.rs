//! What a shard says of itself when asked. Nothing is gathered before somebody asks, and the shard
//! does not wait for whoever asked.

use std::net::SocketAddr;
use std::sync::mpsc::Sender;
use std::time::Duration;

use crate::connection::Phase;
use crate::metrics::{Counters, Histogram};
use crate::protocol::Role;

/// How a shard is.
#[derive(Clone, Debug)]
pub struct ShardReport {
    /// Its number, from 0.
    pub shard: usize,
    /// Its counters since its start.
    pub counters: Counters,
    /// For each message of a topic that was queued, the bytes that waited for the subscriber.
    pub deliveries: Histogram,
    /// Connections it has, in any phase and of either role.
    pub connections: usize,
    /// Whether it is draining.
    pub draining: bool,
    /// The connections for which most bytes wait, most first; as many as were asked for.
    pub listed: Vec<ConnectionReport>,
}

/// How a connection is.
#[derive(Clone, Debug)]
pub struct ConnectionReport {
    /// Its place in its shard, which is given again when it has ended.
    pub slot: u32,
    /// Server for those that were accepted, client for outbound ones.
    pub role: Role,
    /// The client a trusted proxy speaks for, otherwise the other end of its socket, if there still
    /// is one.
    pub address: Option<SocketAddr>,
    /// Where it is in its life.
    pub phase: Phase,
    /// Since when.
    pub phase_age: Duration,
    /// Bytes that wait to be sent to it.
    pub queued_bytes: usize,
}

/// A request for a report.
#[derive(Clone, Debug)]
pub(crate) struct ReportRequest {
    /// The number of the shard asked.
    pub shard: usize,
    /// Most connections to list.
    pub connections_max: usize,
    /// Where the answer goes.
    pub answer: Sender<ShardReport>,
}
