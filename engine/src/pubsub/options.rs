//! What is decided for topics when a server is set up. Nothing is done about it here.

use super::pattern;

/// What happens to a topic's messages for a subscriber that reads too slowly: one for which
/// [`TopicOptions::backlog_bytes`] wait already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlowPolicy {
    /// They are queued like what is sent to it directly, up to
    /// [`Limits::send_queue_bytes_max`](crate::Limits); beyond it the connection is closed with
    /// 1008. The default: nobody misses a message without noticing.
    #[default]
    Close,
    /// It misses new messages until it has caught up.
    DropNewest,
    /// New messages are kept aside for it, up to
    /// [`Limits::lag_bytes_max`](crate::Limits); beyond it the oldest of them are dropped.
    DropOldest,
    /// The latest message of each [`Publish::key`](crate::topics::Publish) is kept aside for it and
    /// takes the place of an older one: for states, of which only the newest matters.
    Latest,
}

/// How the topics whose names match a pattern behave. See
/// [`ServerBuilder::topics`](crate::ServerBuilder::topics).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicOptions {
    /// For subscribers that read too slowly. Default: close.
    pub slow: SlowPolicy,
    /// Bytes waiting for a subscriber from which on the policy acts, unless it is to close, until
    /// less than half of them wait. At least 1; a slow subscriber is behind by what waits here and
    /// in the kernel. Default 64 KiB: some tens of milliseconds of a slow line.
    pub backlog_bytes: usize,
    /// Messages kept for those who come back with a [`Position`](crate::topics::Position), as far
    /// as [`Limits::history_bytes_max`](crate::Limits) goes. A topic with a history orders what all
    /// shards publish to it under a lock. Default 0: none.
    pub history_messages: usize,
    /// Whether a new subscriber gets the last message at once. Default: no.
    pub retain: bool,
}

impl Default for TopicOptions {
    fn default() -> Self {
        Self {
            slow: SlowPolicy::Close,
            backlog_bytes: 64 * 1024,
            history_messages: 0,
            retain: false,
        }
    }
}

impl TopicOptions {
    /// Says which field has a value that cannot work.
    ///
    /// # Errors
    /// The name of the field and the range it must be in.
    pub fn validate(&self) -> Result<(), String> {
        match self.backlog_bytes {
            0 => Err("backlog_bytes is 0: it must be at least 1".to_owned()),
            _ => Ok(()),
        }
    }

    /// How many messages are kept.
    pub(super) fn kept_messages(&self) -> usize {
        self.history_messages.max(usize::from(self.retain))
    }
}

/// The options of topics by pattern; the first that matches counts.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    rules: Vec<(Box<str>, TopicOptions)>,
}

impl Rules {
    pub(crate) fn add(&mut self, pattern: &str, options: TopicOptions) {
        self.rules.push((pattern.into(), options));
    }

    /// Says which rule cannot work.
    ///
    /// # Errors
    /// The pattern and what is wrong with it or with its options.
    pub(crate) fn validate(&self) -> Result<(), String> {
        for (pattern, options) in &self.rules {
            let wrong = |reason: &dyn std::fmt::Display| format!("topics {pattern:?}: {reason}");
            pattern::check(pattern, usize::MAX).map_err(|error| wrong(&error))?;
            options.validate().map_err(|reason| wrong(&reason))?;
        }
        Ok(())
    }

    pub(super) fn are_empty(&self) -> bool {
        self.rules.is_empty()
    }

    pub(super) fn find(&self, name: &str) -> TopicOptions {
        let rule = self.rules.iter().find(|(pattern, _)| pattern::matches(pattern, name));
        rule.map(|&(_, options)| options).unwrap_or_default()
    }
}
