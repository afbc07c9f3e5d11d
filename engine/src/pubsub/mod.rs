//! Topics within one shard. A publish frames its message once into the topic's batch of this turn;
//! at the end of the turn the batch is handed to every subscriber as one shared run of bytes. The
//! hub knows no connection: subscribers are numbers, and whoever asks for the deliveries sends
//! them.
#![forbid(unsafe_code)]

use std::collections::HashMap;

use bytes::Bytes;

use crate::protocol::{Encoder, MessageKind, Role};

/// Names a subscriber: whatever number its shard finds it by.
pub(crate) type Subscriber = u64;

/// The topics of one connection. Empty for one that never subscribed, at no cost but a pointer.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    // Boxed so that a connection without subscriptions holds one word, not three.
    #[expect(clippy::box_collection, reason = "one word for the many connections without topics")]
    places: Option<Box<Vec<Place>>>,
}

/// Where a subscription stands in its topic.
#[derive(Clone, Copy, Debug)]
struct Place {
    topic: u32,
    /// Index in the topic's subscribers.
    index: u32,
}

impl Subscriptions {
    /// How many topics.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.places.as_ref().map_or(0, |places| places.len())
    }

    /// Whether there are none.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[derive(Debug, Default)]
struct Topic {
    name: Box<str>,
    members: Vec<Member>,
    /// What was published this turn, framed.
    batch: Vec<u8>,
    messages: u32,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    subscriber: Subscriber,
    /// Bytes of this turn's batch that were published before it joined.
    skipped_bytes: u32,
}

/// The topics of one shard.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    names: HashMap<Box<str>, u32>,
    topics: Vec<Topic>,
    free: Vec<u32>,
    /// Topics with something in their batch.
    published: Vec<u32>,
    moves: Vec<(Subscriber, Moved)>,
}

/// One subscriber's share of a topic's batch.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// To whom.
    pub subscriber: Subscriber,
    /// Framed messages, shared with the other subscribers.
    pub frames: Bytes,
}

impl Hub {
    /// A hub without topics.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Subscribes; a second time is the same as once. The new subscriber receives what is
    /// published from here on.
    pub(crate) fn subscribe(
        &mut self,
        name: &str,
        subscriber: Subscriber,
        all: &mut Subscriptions,
    ) {
        let topic = self.intern(name);
        let places = all.places.get_or_insert_default();
        if places.iter().any(|place| place.topic == topic) {
            return;
        }
        let entry = &mut self.topics[topic as usize];
        places.push(Place { topic, index: entry.members.len() as u32 });
        entry.members.push(Member { subscriber, skipped_bytes: entry.batch.len() as u32 });
    }

    fn intern(&mut self, name: &str) -> u32 {
        if let Some(&topic) = self.names.get(name) {
            return topic;
        }
        let topic = self.free.pop().unwrap_or_else(|| {
            self.topics.push(Topic::default());
            self.topics.len() as u32 - 1
        });
        self.topics[topic as usize].name = name.into();
        self.names.insert(name.into(), topic);
        topic
    }

    /// Ends a subscription; what was published this turn and not delivered is not received.
    pub(crate) fn unsubscribe(&mut self, name: &str, all: &mut Subscriptions) {
        let Some(&topic) = self.names.get(name) else { return };
        let Some(places) = &mut all.places else { return };
        if let Some(position) = places.iter().position(|place| place.topic == topic) {
            let place = places.swap_remove(position);
            self.remove(place);
        }
    }

    /// Ends all subscriptions of one subscriber.
    pub(crate) fn leave(&mut self, all: &mut Subscriptions) {
        for place in all.places.take().into_iter().flat_map(|places| *places) {
            self.remove(place);
        }
    }

    /// Takes the changes of index that leaving caused, for the records of those who moved. They
    /// must be followed before anyone else leaves.
    pub(crate) fn take_moves(&mut self) -> Vec<(Subscriber, Moved)> {
        std::mem::take(&mut self.moves)
    }

    /// Whether there are such changes.
    pub(crate) fn has_moves(&self) -> bool {
        !self.moves.is_empty()
    }

    fn remove(&mut self, place: Place) {
        let topic = &mut self.topics[place.topic as usize];
        topic.members.swap_remove(place.index as usize);
        if let Some(moved) = topic.members.get(place.index as usize) {
            let from = topic.members.len() as u32;
            self.moves
                .push((moved.subscriber, Moved { topic: place.topic, from, to: place.index }));
        }
        if topic.members.is_empty() && topic.batch.is_empty() {
            self.names.remove(&topic.name);
            *topic = Topic::default();
            self.free.push(place.topic);
        }
    }

    /// Publishes to the subscribers a topic has at the end of the turn; how many it has now.
    pub(crate) fn publish(&mut self, name: &str, kind: MessageKind, payload: &[u8]) -> usize {
        let Some(&topic) = self.names.get(name) else { return 0 };
        let entry = &mut self.topics[topic as usize];
        if entry.batch.is_empty() {
            self.published.push(topic);
        }
        let encoder = Encoder::new(Role::Server);
        encoder.frame(&mut entry.batch, kind.opcode(), true, payload, &mut || [0; 4]);
        entry.messages += 1;
        entry.members.len()
    }

    /// Whether anything was published this turn.
    #[must_use]
    pub(crate) fn has_deliveries(&self) -> bool {
        !self.published.is_empty()
    }

    /// Hands out what was published this turn: each subscriber's share, as one slice.
    pub(crate) fn deliver(&mut self, mut send: impl FnMut(Delivery)) {
        for topic in std::mem::take(&mut self.published) {
            let entry = &mut self.topics[topic as usize];
            let frames = Bytes::from(std::mem::take(&mut entry.batch));
            entry.messages = 0;
            for member in &mut entry.members {
                let skipped = std::mem::take(&mut member.skipped_bytes) as usize;
                if skipped < frames.len() {
                    let frames = frames.slice(skipped..);
                    send(Delivery { subscriber: member.subscriber, frames });
                }
            }
            if entry.members.is_empty() {
                self.names.remove(&entry.name);
                *entry = Topic::default();
                self.free.push(topic);
            }
        }
    }
}

/// A member's index in its topic changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moved {
    topic: u32,
    from: u32,
    to: u32,
}

impl Subscriptions {
    /// Follows a change of index.
    pub(crate) fn follow(&mut self, moved: Moved) {
        let places = self.places.iter_mut().flat_map(|places| places.iter_mut());
        for place in places {
            if place.topic == moved.topic && place.index == moved.from {
                place.index = moved.to;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivered(hub: &mut Hub) -> Vec<(Subscriber, usize)> {
        let mut all = Vec::new();
        hub.deliver(|delivery| all.push((delivery.subscriber, delivery.frames.len())));
        all.sort_unstable();
        all
    }

    #[test]
    fn a_subscriber_receives_what_is_published_after_it_joined() {
        let mut hub = Hub::new();
        let (mut first, mut second) = (Subscriptions::default(), Subscriptions::default());
        hub.subscribe("t", 1, &mut first);
        assert_eq!(hub.publish("t", MessageKind::Text, b"abc"), 1);
        hub.subscribe("t", 2, &mut second);
        hub.subscribe("t", 2, &mut second);
        assert_eq!(hub.publish("t", MessageKind::Text, b"de"), 2);
        assert_eq!(delivered(&mut hub), [(1, 5 + 4), (2, 4)]);
        assert_eq!(delivered(&mut hub), []);
        hub.publish("t", MessageKind::Text, b"");
        assert_eq!(delivered(&mut hub), [(1, 2), (2, 2)]);
    }

    #[test]
    fn leaving_moves_the_last_member_and_frees_empty_topics() {
        let mut hub = Hub::new();
        let mut all: Vec<Subscriptions> = (0..3).map(|_| Subscriptions::default()).collect();
        for (number, subscriptions) in all.iter_mut().enumerate() {
            hub.subscribe("t", number as u64, subscriptions);
        }
        for gone in [0, 2, 1] {
            let mut leaving = std::mem::take(&mut all[gone]);
            hub.leave(&mut leaving);
            for (subscriber, moved) in hub.take_moves() {
                all[subscriber as usize].follow(moved);
            }
        }
        assert_eq!(hub.publish("t", MessageKind::Text, b"x"), 0);
        assert!(hub.names.is_empty());
        assert!(!hub.has_deliveries());
    }
}
