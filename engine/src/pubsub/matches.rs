//! The patterns that match the names published to most recently, so that each name is looked for
//! among the patterns once and not with every message. It remembers as many names as it has places.

use std::sync::Arc;

use super::entry::Entry;
use super::options::TopicOptions;

/// Names remembered: a name keeps another from being so only if the last ten bits of their hashes
/// are the same.
const PLACES: usize = 1024;

/// What is known of a name.
#[derive(Debug)]
pub(super) struct Match {
    hash: u64,
    name: Box<str>,
    /// Of all patterns when they were looked through.
    version: u64,
    pub(super) patterns: Vec<Arc<Entry>>,
    /// Those of the topic of this name, whoever receives its messages.
    pub(super) options: TopicOptions,
}

impl Match {
    pub(super) fn new(
        hash: u64,
        name: &str,
        version: u64,
        patterns: Vec<Arc<Entry>>,
        options: TopicOptions,
    ) -> Box<Self> {
        Box::new(Self { hash, name: name.into(), version, patterns, options })
    }
}

/// The names remembered, each in the one place where it can be.
#[derive(Debug, Default)]
pub(super) struct Matches {
    places: Vec<Option<Box<Match>>>,
}

impl Matches {
    /// Takes out what is known of a name, unless patterns have come or gone since.
    pub(super) fn take(&mut self, hash: u64, name: &str, version: u64) -> Option<Box<Match>> {
        let known = self.places.get_mut(hash as usize % PLACES)?;
        known
            .take_if(|known| known.hash == hash && known.version == version && *known.name == *name)
    }

    /// Whether a name is known to match nothing.
    #[inline]
    pub(super) fn is_none(&self, hash: u64, name: &str, version: u64) -> bool {
        let known = self.places.get(hash as usize % PLACES).and_then(Option::as_ref);
        known.is_some_and(|known| {
            known.patterns.is_empty()
                && known.hash == hash
                && known.version == version
                && *known.name == *name
        })
    }

    /// Remembers what is known of a name, in place of another.
    pub(super) fn put(&mut self, known: Box<Match>) {
        if self.places.is_empty() {
            self.places.resize_with(PLACES, || None);
        }
        let place = known.hash as usize % PLACES;
        self.places[place] = Some(known);
    }
}
