//! The subscriptions of one connection: where it stands in each topic. It changes no topic.

use hashbrown::HashTable;

use super::numbers::hash;

/// Subscriptions up to which they are searched one by one: a few cache lines.
const SEARCHED_MAX: usize = 64;
/// Subscriptions kept without a list that grows.
const FEW: usize = 3;

/// One subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) topic: u32,
    /// Index in the topic's members.
    pub(super) index: u32,
}

/// The topics of one connection, any of which is found, added or removed in the same short time
/// however many there are. Sixteen bytes for the usual connection, which has none or one.
#[derive(Debug, Default)]
pub(super) enum Subscriptions {
    #[default]
    None,
    One(Place),
    Few(u32, Box<[Place; FEW]>),
    Many(Box<Many>),
}

/// Invariant: `positions` is there if there are more than [`SEARCHED_MAX`] places, and then has the
/// position of each topic in `places`.
#[derive(Debug)]
pub(super) struct Many {
    places: Vec<Place>,
    positions: Option<Box<HashTable<u32>>>,
}

/// Makes room for one more with little to spare: dense lists are most of a subscription's memory.
pub(super) fn reserve_one<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact((list.len() / 4).max(2));
    }
}

impl Subscriptions {
    fn places(&self) -> &[Place] {
        match self {
            Self::None => &[],
            Self::One(place) => std::slice::from_ref(place),
            Self::Few(count, places) => &places[..*count as usize],
            Self::Many(many) => &many.places,
        }
    }

    fn places_mut(&mut self) -> &mut [Place] {
        match self {
            Self::None => &mut [],
            Self::One(place) => std::slice::from_mut(place),
            Self::Few(count, places) => &mut places[..*count as usize],
            Self::Many(many) => &mut many.places,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.places().len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Place> {
        self.places().iter()
    }

    /// Where a topic stands among the places.
    pub(super) fn position(&self, topic: u32) -> Option<u32> {
        if let Self::Many(many) = self
            && let Some(positions) = &many.positions
        {
            let found = |&position: &u32| many.places[position as usize].topic == topic;
            return positions.find(hash(topic), found).copied();
        }
        let position = self.iter().position(|place| place.topic == topic);
        position.map(|position| position as u32)
    }

    /// Adds a topic that is not there; its position.
    pub(super) fn add(&mut self, place: Place) -> u32 {
        let position = self.len();
        match self {
            Self::None => *self = Self::One(place),
            Self::One(first) => {
                *self = Self::Few(2, Box::new([*first, place, Place::default()]));
            }
            Self::Few(count, places) if position < FEW => {
                places[position] = place;
                *count += 1;
            }
            Self::Few(_, places) => {
                let mut all = Vec::with_capacity(FEW + 1);
                all.extend_from_slice(&places[..]);
                all.push(place);
                *self = Self::Many(Box::new(Many { places: all, positions: None }));
            }
            Self::Many(many) => many.add(place),
        }
        position as u32
    }

    /// Takes the subscription at a position out. The last one takes its position: which that is,
    /// if there was one, so that its topic can be told.
    pub(super) fn remove(&mut self, position: u32) -> (Place, Option<Place>) {
        let places = self.places_mut();
        let last = places.len() - 1;
        let (removed, moved) = (places[position as usize], places[last]);
        match self {
            Self::Many(many) => many.remove(position),
            _ => self.places_mut().swap(position as usize, last),
        }
        match self {
            Self::None | Self::One(_) => *self = Self::None,
            Self::Few(2, places) => *self = Self::One(places[0]),
            Self::Few(count, _) => *count -= 1,
            Self::Many(many) if last == FEW => {
                let mut few = [Place::default(); FEW];
                few.copy_from_slice(&many.places);
                *self = Self::Few(FEW as u32, Box::new(few));
            }
            Self::Many(_) => {}
        }
        (removed, (position as usize != last).then_some(moved))
    }

    /// Follows a change of index in a topic.
    pub(super) fn follow(&mut self, position: u32, index: u32) {
        self.places_mut()[position as usize].index = index;
    }

    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::None | Self::One(_) => 0,
            Self::Few(..) => size_of::<[Place; FEW]>(),
            Self::Many(many) => {
                let positions = many.positions.as_ref();
                let table = |table: &HashTable<u32>| size_of_val(table) + table.allocation_size();
                size_of::<Many>()
                    + many.places.capacity() * size_of::<Place>()
                    + positions.map_or(0, |positions| table(positions))
            }
        }
    }
}

impl Many {
    fn add(&mut self, place: Place) {
        reserve_one(&mut self.places);
        self.places.push(place);
        let Self { places, positions } = self;
        let rehash = |&position: &u32| hash(places[position as usize].topic);
        let last = places.len() as u32 - 1;
        if let Some(positions) = positions {
            positions.insert_unique(hash(place.topic), last, rehash);
        } else if places.len() > SEARCHED_MAX {
            let mut all = HashTable::with_capacity(places.len());
            for position in 0..=last {
                all.insert_unique(rehash(&position), position, rehash);
            }
            *positions = Some(Box::new(all));
        }
    }

    fn remove(&mut self, position: u32) {
        let Self { places, positions } = self;
        let last = places.len() as u32 - 1;
        let topics = [places[position as usize].topic, places[last as usize].topic];
        places.swap_remove(position as usize);
        if places.len() <= SEARCHED_MAX {
            *positions = None;
        }
        let Some(positions) = positions else { return };
        for (topic, known) in topics.into_iter().zip([position, last]) {
            if let Ok(entry) = positions.find_entry(hash(topic), |&at| at == known) {
                entry.remove();
            }
        }
        if position != last {
            let rehash = |&position: &u32| hash(places[position as usize].topic);
            positions.insert_unique(hash(topics[1]), position, rehash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_is_found_at_its_position_however_many_there_are() {
        let mut subscriptions = Subscriptions::default();
        let mut model: Vec<u32> = Vec::new();
        let (mut most, mut emptied) = (0, 0);
        let mut state = 1u64;
        for step in 0..40_000u32 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let grows = (step / 400) % 2 == 0;
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
                emptied += usize::from(model.is_empty());
            }
            most = most.max(model.len());
            if step % 50 == 0 || model.len() < 6 {
                for (position, &topic) in model.iter().enumerate() {
                    assert_eq!(subscriptions.position(topic), Some(position as u32));
                }
                assert!(subscriptions.iter().map(|place| place.topic).eq(model.iter().copied()));
            }
        }
        assert!(most > 2 * SEARCHED_MAX, "only {most} at a time");
        assert!(emptied > 20, "only {emptied} times all gone");
        assert_eq!(size_of::<Subscriptions>(), 16);
    }
}
