//! Runs each fuzz target on its corpus, and on mutations of it from a seeded generator, for a
//! bounded number of runs. The coverage-guided runs are `scripts/fuzz`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use ringsock_fuzz::TARGETS;

/// Mutations of each target: a second or two.
const RUNS: usize = 60_000;
const BYTES_MAX: usize = 4096;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut files: Vec<_> =
        folder.read_dir().expect("a corpus").map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// One to four small changes, one of them perhaps a piece of another input.
fn mutated(random: &mut Random, inputs: &[Vec<u8>]) -> Vec<u8> {
    let mut data = inputs[random.below(inputs.len())].clone();
    for _ in 0..1 + random.below(4) {
        let place = random.below(data.len() + 1);
        match random.below(6) {
            0 => data.insert(place, random.below(256) as u8),
            1 if place < data.len() => drop(data.remove(place)),
            2 if place < data.len() => data[place] ^= 1 << random.below(8),
            3 => data.truncate(place),
            4 => {
                let other = &inputs[random.below(inputs.len())];
                let from = random.below(other.len() + 1);
                data.splice(place..place, other[from..].iter().copied());
            }
            _ if place < data.len() => {
                data[place] =
                    *b"\0\x01\x7d\x7e\x7f\x80\xff\r\n ,;=\"".get(random.below(14)).unwrap();
            }
            _ => {}
        }
    }
    data.truncate(BYTES_MAX);
    data
}

fn check(target: &str, data: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| ringsock_fuzz::run(target, data))).is_err() {
        panic!("{target} fails with b\"{}\"", data.escape_ascii());
    }
}

#[test]
fn no_input_of_the_corpora_and_no_mutation_of_them_breaks_a_rule() {
    for &(target, _) in TARGETS {
        let inputs = corpus(target);
        assert!(inputs.len() >= 4, "{target}: a corpus is where mutations begin");
        inputs.iter().for_each(|data| check(target, data));
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for _ in 0..RUNS {
            check(target, &mutated(&mut random, &inputs));
        }
    }
}
