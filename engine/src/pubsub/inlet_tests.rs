//! The inlet by itself, and every order in which threads can come to it.

use super::*;
use crate::pubsub::interleavings::interleavings;

/// A bell that remembers whether it rings, as an eventfd does.
#[derive(Debug, Default)]
struct Eventfd(AtomicBool);

impl Bell for Eventfd {
    fn ring(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn inlet(places_max: usize, bytes_max: usize) -> (Arc<Eventfd>, Inlet<u32>) {
    let bell = Arc::new(Eventfd::default());
    (Arc::clone(&bell), Inlet::new(places_max, bytes_max, bell))
}

fn take(inlet: &Inlet<u32>) -> Vec<u32> {
    let mut taken = Vec::new();
    inlet.take(&mut taken);
    taken
}

fn counts(inlet: &Inlet<u32>) -> (usize, usize) {
    (inlet.places.load(Ordering::Relaxed), inlet.bytes.load(Ordering::Relaxed))
}

#[test]
fn it_is_bounded_in_places_and_bytes_and_rings_once() {
    let (bell, inlet) = inlet(2, 10);
    assert!(inlet.reserve(4) && inlet.reserve(1));
    assert!(!inlet.reserve(1), "both places are reserved");
    inlet.release(1);
    assert!(inlet.reserve(1));
    inlet.fill(1, 4);
    assert!(bell.0.swap(false, Ordering::Relaxed));
    inlet.extend(3);
    inlet.fill(2, 4);
    assert!(!bell.0.load(Ordering::Relaxed), "the first is still there");
    assert_eq!(take(&inlet), [1, 2]);
    assert!(inlet.reserve(6) && inlet.takes_bytes());
    inlet.extend(4);
    assert!(!inlet.takes_bytes(), "what is reserved counts before it is there");
    assert!(!inlet.reserve(1), "there is a place, but enough bytes are reserved");
    inlet.fill(3, 10);
    inlet.stop();
    assert!(!inlet.reserve(1));
    assert!(take(&inlet).is_empty());
    assert_eq!(counts(&inlet), (0, 0));
}

/// What one thread does next. What depends on a step before that did not succeed does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Reserves a place for an item of so many bytes.
    Reserve(usize),
    /// One more byte of it.
    Extend,
    /// Gives the place back.
    Release,
    /// Fills it.
    Insert(u32),
    /// Puts something in that needs no place.
    Note(u32),
    /// Rings, if what was put in before said so.
    Ring,
    /// The shard silences its bell; awake or not, it looks then.
    Silence,
    /// It takes what there is.
    Take,
    /// It ends.
    Stop,
}

/// One thread: where it is, and what it holds.
#[derive(Clone, Debug, Default)]
struct Thread {
    at: usize,
    reserved: Option<usize>,
    must_ring: bool,
}

/// What a plain queue would hold.
#[derive(Debug, Default)]
struct Model {
    places: usize,
    bytes: usize,
    waiting: Vec<(u32, Option<usize>)>,
    taken: Vec<u32>,
    stopped: bool,
}

impl Model {
    fn put(&mut self, item: u32, place: Option<usize>) {
        if self.stopped {
            self.places -= usize::from(place.is_some());
            self.bytes -= place.unwrap_or(0);
        } else {
            self.waiting.push((item, place));
        }
    }

    fn empty(&mut self) -> Vec<u32> {
        let waiting = std::mem::take(&mut self.waiting);
        self.places -= waiting.iter().filter(|(_, place)| place.is_some()).count();
        self.bytes -= waiting.iter().filter_map(|(_, place)| *place).sum::<usize>();
        waiting.into_iter().map(|(item, _)| item).collect()
    }
}

/// Runs the threads in every order, each step beside the model; how many orders there are, and how
/// often there was no room.
fn run_all(places_max: usize, bytes_max: usize, threads: &[&[Step]]) -> (usize, usize) {
    let lengths: Vec<usize> = threads.iter().map(|steps| steps.len()).collect();
    let mut refused = 0;
    let runs = interleavings(&lengths, &mut |order| {
        let (bell, inlet) = inlet(places_max, bytes_max);
        let mut state = vec![Thread::default(); threads.len()];
        let mut model = Model::default();
        for &number in order {
            let thread = &mut state[number];
            let step = threads[number][thread.at];
            thread.at += 1;
            match step {
                Step::Reserve(bytes) => {
                    let room = model.places < places_max && model.bytes < bytes_max;
                    let reserved = inlet.reserve(bytes);
                    assert_eq!(reserved, room && !model.stopped, "in the order {order:?}");
                    refused += usize::from(!reserved && !model.stopped);
                    thread.reserved = reserved.then_some(bytes);
                    model.places += usize::from(reserved);
                    model.bytes += if reserved { bytes } else { 0 };
                }
                Step::Extend => {
                    if let Some(bytes) = &mut thread.reserved {
                        inlet.extend(1);
                        *bytes += 1;
                        model.bytes += 1;
                    }
                }
                Step::Release => {
                    if let Some(bytes) = thread.reserved.take() {
                        inlet.release(bytes);
                        model.places -= 1;
                        model.bytes -= bytes;
                    }
                }
                Step::Insert(item) => {
                    if let Some(bytes) = thread.reserved.take() {
                        thread.must_ring = inlet.insert(item, bytes);
                        model.put(item, Some(bytes));
                    }
                }
                Step::Note(item) => {
                    thread.must_ring = inlet.insert_note(item);
                    model.put(item, None);
                }
                Step::Ring => {
                    if std::mem::take(&mut thread.must_ring) {
                        bell.ring();
                    }
                }
                Step::Silence => _ = bell.0.swap(false, Ordering::Relaxed),
                Step::Take => {
                    let taken = model.empty();
                    assert_eq!(take(&inlet), taken, "in the order {order:?}");
                    model.taken.extend(taken);
                }
                Step::Stop => {
                    inlet.stop();
                    drop(model.empty());
                    model.stopped = true;
                }
            }
            assert_eq!(counts(&inlet), (model.places, model.bytes), "in the order {order:?}");
        }
        // All have rung who must: whatever is left, the shard is told to look.
        if bell.0.swap(false, Ordering::Relaxed) {
            assert_eq!(take(&inlet), model.empty());
        }
        assert!(model.waiting.is_empty(), "left asleep in the order {order:?}");
        assert_eq!(counts(&inlet), (0, 0), "in the order {order:?}");
    });
    (runs, refused)
}

#[test]
fn nothing_is_lost_doubled_or_left_asleep_in_any_interleaving() {
    use Step::{Extend, Insert, Note, Release, Reserve, Ring, Silence, Stop, Take};
    let twice: [Step; 6] = [Reserve(1), Insert(10), Ring, Reserve(1), Insert(11), Ring];
    let once: [Step; 3] = [Reserve(1), Insert(20), Ring];
    let looks = [Silence, Take, Silence, Take];
    for (places_max, some_are_refused) in [(9, false), (1, true)] {
        // 13 steps of threads with 6, 3 and 4: 13! / (6! 3! 4!).
        let (runs, refused) = run_all(places_max, 9, &[&twice, &once, &looks]);
        assert_eq!((runs, refused > 0), (60_060, some_are_refused));
    }
    let grows = [Reserve(1), Extend, Insert(30), Ring];
    let changes_its_mind = [Reserve(1), Release, Note(40), Ring];
    // By places, and by bytes.
    for (places_max, bytes_max) in [(1, 9), (9, 1)] {
        let threads: [&[Step]; 3] = [&grows, &changes_its_mind, &looks];
        let (runs, refused) = run_all(places_max, bytes_max, &threads);
        // 12! / (4! 4! 4!).
        assert!(runs == 34_650 && refused > 0, "{runs}, {refused}");
    }
    // The shard ends while others hand in, with a place and without.
    let last = [Reserve(1), Insert(50), Ring, Note(51), Ring];
    let (runs, _) = run_all(2, 9, &[&last, &once, &[Silence, Take, Stop]]);
    assert_eq!(runs, 9_240, "11! / (5! 3! 3!)");
    // It hands itself something without waking itself, and looks without having been woken.
    let itself = [Reserve(1), Insert(60), Take, Silence, Take];
    let (runs, refused) = run_all(2, 9, &[&itself, &once, &[Reserve(1), Insert(70), Ring]]);
    assert!(runs == 9_240 && refused > 0, "{runs}, {refused}");
}
