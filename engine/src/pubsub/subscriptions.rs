//! The subscriptions of one connection: where it stands in each topic. It changes no topic.

use hashbrown::HashTable;

use super::numbers::hash;

/// Subscriptions up to which they are searched one by one.
const SEARCHED_MAX: usize = 16;

/// One subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) topic: u32,
    /// Index in the topic's members.
    pub(super) index: u32,
}

/// The topics of one connection, any of which is found, added or removed in the same short time
/// however many there are.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    places: Vec<Place>,
    /// The position of each topic in `places`, once there are many.
    positions: HashTable<u32>,
}

/// Makes room for one more with little to spare: dense lists are most of a subscription's memory.
pub(super) fn reserve_one<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact((list.len() / 4).max(2));
    }
}

impl Subscriptions {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Place> {
        self.places.iter()
    }

    /// Where a topic stands among the places.
    pub(super) fn position(&self, topic: u32) -> Option<u32> {
        if self.places.len() <= SEARCHED_MAX {
            let position = self.places.iter().position(|place| place.topic == topic);
            return position.map(|position| position as u32);
        }
        let found = |&position: &u32| self.places[position as usize].topic == topic;
        self.positions.find(hash(topic), found).copied()
    }

    /// Adds a topic that is not there; its position.
    pub(super) fn add(&mut self, place: Place) -> u32 {
        reserve_one(&mut self.places);
        let position = self.places.len() as u32;
        self.places.push(place);
        match self.places.len() {
            ..=SEARCHED_MAX => {}
            length if length == SEARCHED_MAX + 1 => {
                for position in 0..length {
                    self.note(position as u32);
                }
            }
            _ => self.note(position),
        }
        position
    }

    fn note(&mut self, position: u32) {
        let Self { places, positions } = self;
        let rehash = |&position: &u32| hash(places[position as usize].topic);
        positions.insert_unique(hash(places[position as usize].topic), position, rehash);
    }

    fn forget(&mut self, position: u32) {
        let topic = self.places[position as usize].topic;
        if let Ok(entry) = self.positions.find_entry(hash(topic), |&known| known == position) {
            entry.remove();
        }
    }

    /// Takes the subscription at a position out. The last one takes its position: which that is,
    /// if there was one, so that its topic can be told.
    pub(super) fn remove(&mut self, position: u32) -> (Place, Option<Place>) {
        let last = self.places.len() as u32 - 1;
        if self.places.len() > SEARCHED_MAX + 1 {
            self.forget(position);
            if last != position {
                self.forget(last);
            }
        } else {
            self.positions = HashTable::new();
        }
        let removed = self.places.swap_remove(position as usize);
        let moved = self.places.get(position as usize).copied();
        if moved.is_some() && self.places.len() > SEARCHED_MAX {
            self.note(position);
        }
        (removed, moved)
    }

    /// Follows a change of index in a topic.
    pub(super) fn follow(&mut self, position: u32, index: u32) {
        self.places[position as usize].index = index;
    }

    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        self.places.capacity() * size_of::<Place>() + self.positions.allocation_size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_is_found_at_its_position_however_many_there_are() {
        let mut subscriptions = Subscriptions::default();
        let mut model: Vec<u32> = Vec::new();
        let mut most = 0;
        let mut state = 1u64;
        for step in 0..20_000u32 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let grows = (step / 200) % 2 == 0;
            if grows && (state >> 33) % 3 != 1 || model.is_empty() {
                let topic = step;
                assert_eq!(subscriptions.position(topic), None);
                let position = subscriptions.add(Place { topic, index: topic });
                assert_eq!(position as usize, model.len());
                model.push(topic);
            } else {
                let position = (state >> 33) as usize % model.len();
                let (removed, moved) = subscriptions.remove(position as u32);
                assert_eq!(removed.topic, model.swap_remove(position));
                assert_eq!(moved.map(|place| place.topic), model.get(position).copied());
            }
            most = most.max(model.len());
            if step % 50 == 0 {
                for (position, &topic) in model.iter().enumerate() {
                    assert_eq!(subscriptions.position(topic), Some(position as u32));
                }
            }
        }
        assert!(most > 3 * SEARCHED_MAX, "only {most} at a time");
    }
}
