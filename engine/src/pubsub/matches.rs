//! The patterns that match the names published to most recently, so that each name is looked for
//! among the patterns once and not with every message. It remembers a bounded number of names.

use std::sync::Arc;

use super::entry::Entry;
use super::options::TopicOptions;

/// Sets of places; the last bits of a name's hash say in which it can be.
const SETS: usize = 1024;
/// Places in each set: names share one without forgetting each other. Of 1,024 names that are
/// published to in turns, two in a hundred are in a set with too many and looked for each time.
const PLACES: usize = 4;

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

/// The names remembered.
#[derive(Debug, Default)]
pub(super) struct Matches {
    /// In each set those remembered last come first.
    sets: Vec<[Place; PLACES]>,
}

/// The hash of a name beside what is known of it: most others are told apart by that alone.
type Place = Option<(u64, Box<Match>)>;

impl Matches {
    /// Takes out what is known of a name, unless patterns have come or gone since.
    pub(super) fn take(&mut self, hash: u64, name: &str, version: u64) -> Option<Box<Match>> {
        let set = self.sets.get_mut(hash as usize % SETS)?;
        let place = set.iter_mut().find(|place| is_of(place, hash, name))?;
        let known = place.take_if(|(_, known)| known.version == version)?;
        Some(known.1)
    }

    /// Whether a name is known to match nothing.
    #[inline]
    pub(super) fn is_none(&self, hash: u64, name: &str, version: u64) -> bool {
        let Some(set) = self.sets.get(hash as usize % SETS) else { return false };
        let known = set.iter().find(|place| is_of(place, hash, name)).and_then(Option::as_ref);
        known.is_some_and(|(_, known)| known.patterns.is_empty() && known.version == version)
    }

    /// Remembers what is known of a name: in place of what was known of it before, else of another
    /// one only if there is no place left.
    pub(super) fn put(&mut self, known: Box<Match>) {
        if self.sets.is_empty() {
            self.sets.resize_with(SETS, Default::default);
        }
        let hash = known.hash;
        let set = &mut self.sets[hash as usize % SETS];
        let free = set.iter().position(|place| is_of(place, hash, &known.name));
        let free = free.or_else(|| set.iter().position(Option::is_none)).unwrap_or(PLACES - 1);
        set[..=free].rotate_right(1);
        set[0] = Some((hash, known));
    }
}

#[inline]
fn is_of(place: &Place, hash: u64, name: &str) -> bool {
    place.as_ref().is_some_and(|(of, known)| *of == hash && *known.name == *name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

    fn hash(name: &str) -> u64 {
        BuildHasherDefault::<DefaultHasher>::new().hash_one(name)
    }

    fn put(matches: &mut Matches, hash: u64, name: &str, version: u64) {
        matches.put(Match::new(hash, name, version, Vec::new(), TopicOptions::default()));
    }

    #[test]
    fn names_of_the_same_set_are_remembered_beside_each_other_the_latest_longest() {
        let mut matches = Matches::default();
        let hash_of = |number: usize| (number * SETS + 5) as u64;
        for number in 0..=PLACES {
            put(&mut matches, hash_of(number), &number.to_string(), 1);
        }
        let known = |number: usize| matches.is_none(hash_of(number), &number.to_string(), 1);
        assert_eq!((0..=PLACES).map(known).collect::<Vec<_>>(), [false, true, true, true, true]);
        // Neither another name of the same hash nor the same before patterns came is meant.
        assert!(!matches.is_none(hash_of(1), "2", 1) && !matches.is_none(hash_of(1), "1", 2));
    }

    #[test]
    fn a_name_has_one_place_however_often_it_is_put() {
        let mut matches = Matches::default();
        put(&mut matches, 1, "other", 1);
        for version in 0..20 {
            put(&mut matches, 1, "name", version);
        }
        assert!(matches.is_none(1, "other", 1) && matches.is_none(1, "name", 19));
        assert!(matches.take(1, "name", 18).is_none(), "of another version");
        assert!(matches.take(1, "name", 19).is_some());
        assert!(matches.take(1, "name", 19).is_none(), "taken already");
    }

    #[test]
    fn of_a_thousand_names_in_turns_hardly_one_is_forgotten() {
        let mut matches = Matches::default();
        let names: Vec<String> = (0..1024).map(|number| format!("price/{number:04}")).collect();
        names.iter().for_each(|name| put(&mut matches, hash(name), name, 1));
        let known = names.iter().filter(|name| matches.is_none(hash(name), name, 1)).count();
        assert!(known >= 1000, "{known} of 1024");
    }
}
