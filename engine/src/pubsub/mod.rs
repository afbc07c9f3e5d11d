//! Topics: who is subscribed, and what is published to them, on one shard and across all of them.
//! Nothing here knows a connection: subscribers are the numbers of their slots, and whoever asks
//! for the deliveries sends them.
//!
//! A publish is framed once, into the topic's batch of this turn. At the end of the turn the batch
//! is shared: with the shard's own subscribers, and as one parcel with each other shard that has
//! any, through that shard's inlet. Who has subscribers of what is in the exchange, which all
//! shards read and which is written only when a shard gets its first or loses its last subscriber
//! of a topic.
#![forbid(unsafe_code)]

mod backend;
mod batch;
mod delivery;
mod entry;
mod exchange;
mod federation;
mod forms;
mod frames;
mod gaps;
mod histories;
mod hub;
mod inlet;
#[cfg(test)]
pub(crate) mod interleavings;
mod lag;
mod log;
mod matches;
#[cfg(test)]
mod model_tests;
mod numbers;
mod options;
mod pattern;
mod shard_set;
mod streams;
mod subscribe;
mod subscriptions;
mod tally;
mod topic;
mod trie;
#[cfg(test)]
mod turnover_tests;

pub use backend::{Backend, History, HistoryMessage, Interest, Publication, PublicationId};
pub(crate) use batch::Content;
pub use batch::Publish;
pub(crate) use delivery::{Audience, Taken};
pub(crate) use exchange::Exchange;
pub(crate) use forms::Savings;
pub(crate) use hub::{Hub, Newcomer};
pub(crate) use inlet::Bell;
pub(crate) use lag::LagBounds;
pub use log::Position;
pub(crate) use log::Recovered;
pub(crate) use options::Rules;
pub use options::{SlowPolicy, TopicOptions};
pub(crate) use subscribe::TopicName;
pub use subscribe::{Subscribe, SubscribeError};

/// How many subscribers a publish reaches, of all shards and all subscriptions that match, as it is
/// known when it is made.
///
/// A subscriber counts as queued when its message is in its shard's batch or has a place in its
/// shard's inlet, from where it is delivered in order. What is decided later, one subscriber at a
/// time (it left, it is closing, it reads too slowly), is not known here and is counted exactly,
/// by reason, in the [`Counters`](crate::reports::Counters) of that subscriber's shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Subscribers it is queued for.
    pub queued: usize,
    /// Subscribers that will not get it because their shard's inlet is full. They are told by
    /// [`Handler::on_gap`](crate::Handler::on_gap).
    pub dropped: usize,
}
