//! What a server is told of its topics before it starts. It runs nothing.

use std::sync::Arc;

use super::builder::ServerBuilder;
use crate::handler::Publisher;
use crate::pubsub::{Backend, Rules, TopicOptions};

type MakeBackend = Box<dyn FnOnce(Publisher) -> Arc<dyn Backend>>;

/// The topics of a server being described.
#[derive(Default)]
pub(super) struct Topics {
    pub(super) rules: Rules,
    backend: Option<MakeBackend>,
}

impl std::fmt::Debug for Topics {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Topics").field("rules", &self.rules).finish_non_exhaustive()
    }
}

impl Topics {
    /// The backend, which may begin to work.
    pub(super) fn make_backend(&mut self, publisher: &Publisher) -> Option<Arc<dyn Backend>> {
        self.backend.take().map(|make| make(publisher.clone()))
    }
}

impl ServerBuilder {
    /// Gives the topics whose names match a pattern options of their own; see
    /// [`Conn::subscribe_matching`](crate::Conn::subscribe_matching) for what patterns look like.
    /// The first pattern that matches counts. They hold for the messages of these topics whoever
    /// receives them, by name or by a pattern.
    ///
    /// ```no_run
    /// # use ringsock::Server;
    /// # use ringsock::topics::{SlowPolicy, TopicOptions};
    /// let latest = TopicOptions { slow: SlowPolicy::Latest, ..TopicOptions::default() };
    /// let kept = TopicOptions { history_messages: 100, ..TopicOptions::default() };
    /// Server::builder().topics("price/**", latest).topics("room/*", kept);
    /// ```
    pub fn topics(mut self, pattern: &str, options: TopicOptions) -> Self {
        self.topics.rules.add(pattern, options);
        self
    }

    /// Joins the server to other nodes: what is published here is handed to the [`Backend`] that
    /// `make` makes when the server starts, and what arrives from others goes through the
    /// publisher it is given.
    pub fn backend(mut self, make: impl FnOnce(Publisher) -> Arc<dyn Backend> + 'static) -> Self {
        self.topics.backend = Some(Box::new(make));
        self
    }
}
