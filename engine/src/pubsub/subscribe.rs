//! What a subscription says, and why it may be refused. Nobody is subscribed here.

use std::fmt;

use super::log::Position;

/// What somebody is subscribed to: topics have names, and patterns are written like them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TopicName<'a> {
    /// The topic of this very name.
    Exact(&'a str),
    /// All topics whose names match.
    Pattern(&'a str),
}

impl<'a> TopicName<'a> {
    pub(crate) fn new(text: &'a str, is_pattern: bool) -> Self {
        if is_pattern { Self::Pattern(text) } else { Self::Exact(text) }
    }

    /// The name or the pattern as it is written.
    pub(crate) fn text(self) -> &'a str {
        match self {
            Self::Exact(text) | Self::Pattern(text) => text,
        }
    }
}

/// How a connection subscribes, beyond the topic.
///
/// ```
/// use ringsock::topics::{Position, Subscribe};
/// let back = Subscribe { from: Some(Position { epoch: 7, offset: 40 }), ..Subscribe::default() };
/// assert_eq!(back.filter, u64::MAX);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// Only messages are received that were published with a tag in common with this
    /// ([`Publish::tags`](crate::topics::Publish)). Default: all bits, which are all messages but
    /// those without any tag.
    pub filter: u64,
    /// What was published since is sent at once, where the topic has a history
    /// ([`TopicOptions::history_messages`](crate::topics::TopicOptions)). Means nothing for a
    /// pattern, which stands for many topics. Default: nothing.
    pub from: Option<Position>,
}

impl Default for Subscribe {
    fn default() -> Self {
        Self { filter: u64::MAX, from: None }
    }
}

/// Why a connection was not subscribed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeError {
    /// The connection is closing: it will receive nothing more.
    Closing,
    /// The name is longer than [`Limits::topic_bytes_max`](crate::Limits).
    NameTooLong,
    /// The connection has [`Limits::subscriptions_max`](crate::Limits) already.
    TooMany,
    /// The pattern has more levels than [`Limits::topic_levels_max`](crate::Limits).
    TooDeep,
    /// The server has [`Limits::patterns_max`](crate::Limits) different patterns already.
    TooManyPatterns,
    /// The topic is to have a history, and [`Limits::histories_max`](crate::Limits) others that
    /// have one have subscribers, too.
    TooManyHistories,
    /// `**` stands for the rest of a name, so it can only be the last level of a pattern.
    RestNotLast,
}

impl fmt::Display for SubscribeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Closing => "the connection is closing",
            Self::NameTooLong => "the topic's name is too long: see Limits::topic_bytes_max",
            Self::TooMany => {
                "the connection has too many subscriptions: see Limits::subscriptions_max"
            }
            Self::TooDeep => "the pattern has too many levels: see Limits::topic_levels_max",
            Self::TooManyPatterns => "there are too many patterns: see Limits::patterns_max",
            Self::TooManyHistories => {
                "too many topics with a history have subscribers: see Limits::histories_max"
            }
            Self::RestNotLast => "** may only be the last level of a pattern",
        })
    }
}

impl std::error::Error for SubscribeError {}
