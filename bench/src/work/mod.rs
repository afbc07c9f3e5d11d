//! Small pieces of the engine's work, each as something that can be done again and again: timed by
//! criterion, counted by the program `instructions`.
//!
//! Nothing is measured here.

mod deflate;
mod fan_out;
mod frames;
mod handshakes;
mod masks;
mod nobody;
mod queues;

/// One piece of work.
pub struct Work {
    /// What it does, and with how much.
    pub name: String,
    /// How many operations one pass does; times and counts are told for one.
    pub operations: u64,
    /// Bytes of payload in one operation, if its time should depend on them.
    pub payload_bytes: Option<usize>,
    prepare: Box<dyn Fn() -> Pass + Send + Sync>,
}

/// Does the work once.
pub type Pass = Box<dyn FnMut()>;

impl Work {
    fn new(
        name: impl Into<String>,
        operations: u64,
        payload_bytes: Option<usize>,
        prepare: impl Fn() -> Pass + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), operations, payload_bytes, prepare: Box::new(prepare) }
    }

    /// Allocates what the work needs and returns the work.
    #[must_use]
    pub fn prepare(&self) -> Pass {
        (self.prepare)()
    }
}

/// All pieces, in the order of their names.
#[must_use]
pub fn all() -> Vec<Work> {
    let mut all: Vec<Work> = deflate::all()
        .chain(frames::all())
        .chain(handshakes::all())
        .chain(masks::all())
        .chain(nobody::all())
        .chain(queues::all())
        .collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// What some pieces are compared with, which is not the engine's work.
#[must_use]
pub fn yardsticks() -> Vec<Work> {
    masks::yardsticks().collect()
}

/// Sharing and copying what a topic's subscribers get, at many sizes. It is a matter of caches, so
/// times tell something and counts of instructions do not.
#[must_use]
pub fn sweep() -> Vec<Work> {
    fan_out::all().collect()
}

/// The piece or yardstick with this name.
#[must_use]
pub fn find(name: &str) -> Option<Work> {
    all().into_iter().chain(yardsticks()).find(|work| work.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_can_be_done_twice_and_has_a_name_of_its_own() {
        let all = all();
        for work in all.iter().chain(&yardsticks()).chain(&sweep()) {
            let mut pass = work.prepare();
            pass();
            pass();
        }
        assert!(all.windows(2).all(|pair| pair[0].name < pair[1].name));
    }
}
