//! The inlet by itself, and every order in which threads can come to it.

use super::*;

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
    assert_eq!((inlet.places.load(Ordering::Relaxed), inlet.bytes.load(Ordering::Relaxed)), (0, 0));
}

/// What one thread does next. Each step is one critical section or one system call, so running
/// them in every order is running the threads in every order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Insert(u32),
    /// Rings, if the insertion before said so.
    Ring,
    /// The shard wakes up, if the bell rings, and silences it.
    Silence,
    /// And takes what there is.
    Take,
}

/// Every way to interleave the threads' steps, each in its own order.
fn interleavings(threads: &[Vec<Step>], at: &mut Vec<usize>, run: &mut impl FnMut(&[usize])) {
    fn go(
        threads: &[Vec<Step>],
        at: &mut Vec<usize>,
        order: &mut Vec<usize>,
        run: &mut impl FnMut(&[usize]),
    ) {
        let mut ended = true;
        for thread in 0..threads.len() {
            if at[thread] < threads[thread].len() {
                ended = false;
                at[thread] += 1;
                order.push(thread);
                go(threads, at, order, run);
                order.pop();
                at[thread] -= 1;
            }
        }
        if ended {
            run(order);
        }
    }
    go(threads, at, &mut Vec::new(), run);
}

#[test]
fn nothing_is_lost_doubled_or_left_asleep_in_any_interleaving() {
    use Step::{Insert, Ring, Silence, Take};
    let shard = |turns| [Silence, Take].repeat(turns);
    let two = [vec![Insert(10), Ring, Insert(11), Ring], vec![Insert(20), Ring], shard(3)];
    // 12 steps of threads with 4, 2 and 6: 12! / (4! 2! 6!).
    assert_eq!(run_all(&two), 13_860);
    let three = [vec![Insert(10), Ring], vec![Insert(20), Ring], vec![Insert(30), Ring], shard(2)];
    // 10! / (2! 2! 2! 4!).
    assert_eq!(run_all(&three), 18_900);
}

/// Runs the threads, the last of which is the shard, in every order; how many there are.
fn run_all(threads: &[Vec<Step>]) -> usize {
    let mut runs = 0;
    interleavings(threads, &mut vec![0; threads.len()], &mut |order| {
        runs += 1;
        let (bell, inlet) = inlet(100, 100);
        let mut at = vec![0; threads.len()];
        let mut must_ring = vec![false; threads.len()];
        let mut awake = false;
        let mut taken = Vec::new();
        for &thread in order {
            match threads[thread][at[thread]] {
                Step::Insert(item) => {
                    assert!(inlet.reserve(1));
                    must_ring[thread] = inlet.insert(item, 1);
                }
                Step::Ring if must_ring[thread] => bell.ring(),
                Step::Ring => {}
                Step::Silence => awake = bell.0.swap(false, Ordering::Relaxed),
                Step::Take if awake => taken.extend(take(&inlet)),
                Step::Take => {}
            }
            at[thread] += 1;
        }
        // All have rung who must. The shard goes on waking for as long as it is told to.
        while bell.0.swap(false, Ordering::Relaxed) {
            taken.extend(take(&inlet));
        }
        for steps in &threads[..threads.len() - 1] {
            let handed = steps.iter().filter_map(|step| match step {
                Step::Insert(item) => Some(*item),
                _ => None,
            });
            let handed: Vec<u32> = handed.collect();
            let found = taken.iter().copied().filter(|item| handed.contains(item));
            assert_eq!(found.collect::<Vec<_>>(), handed, "in the order {order:?}");
        }
        assert_eq!(inlet.places.load(Ordering::Relaxed), 0);
    });
    runs
}
