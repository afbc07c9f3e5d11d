//! How long somebody pauses between an answer and the next message: always as long, or by chance as
//! people do. It knows no clock.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::chance::Chance;

/// Milliseconds that a pause may have.
const MILLISECONDS: std::ops::RangeInclusive<f64> = 0.001..=3_600_000.0;
/// Pauses of an exponential distribution are at most so many times as long as their mean.
const LONGEST: f64 = 20.0;

/// The lengths of pauses, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Think {
    /// From one up to the other, each as likely; always as long where they are the same.
    Between(f64, f64),
    /// Exponential with this mean: mostly short, and long now and then.
    About(f64),
}

impl Think {
    /// The length of one pause.
    pub(crate) fn pause_ns(self, chance: &mut Chance) -> u64 {
        match self {
            Self::Between(least, most) => (least + (most - least) * chance.fraction()) as u64,
            Self::About(mean) => (mean * chance.exponential().min(LONGEST)) as u64,
        }
    }

    /// The mean.
    pub(crate) fn mean_ns(self) -> f64 {
        match self {
            Self::Between(least, most) => f64::midpoint(least, most),
            Self::About(mean) => mean,
        }
    }
}

impl FromStr for Think {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = "give milliseconds from 0.001 to 3600000 such as 200, 200..400 or exp:300";
        let number = |text: &str| {
            let number = text.parse().ok().filter(|number| MILLISECONDS.contains(number));
            number.map(|number: f64| number * 1e6).ok_or(wanted)
        };
        if let Some(mean) = text.strip_prefix("exp:") {
            return Ok(Self::About(number(mean)?));
        }
        let (least, most) = text.split_once("..").unwrap_or((text, text));
        match (number(least)?, number(most)?) {
            (least, most) if least <= most => Ok(Self::Between(least, most)),
            _ => Err(wanted.to_owned()),
        }
    }
}

impl fmt::Display for Think {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Between(least, most) if least < most => {
                write!(formatter, "{} to {} ms", least / 1e6, most / 1e6)
            }
            Self::Between(pause, _) => write!(formatter, "{} ms", pause / 1e6),
            Self::About(mean) => write!(formatter, "about {} ms (exponential)", mean / 1e6),
        }
    }
}

/// As their mean, in milliseconds.
impl Serialize for Think {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.mean_ns() / 1e6)
    }
}

/// Those who pause, and until when.
#[derive(Debug)]
pub(crate) struct Pauses {
    think: Think,
    chance: Chance,
    ends: BinaryHeap<Reverse<(u64, usize)>>,
}

impl Pauses {
    /// Nobody pauses yet. Each shard has chances of its own.
    pub(crate) fn new(think: Think, shard: usize) -> Self {
        Self { think, chance: Chance::of(shard), ends: BinaryHeap::new() }
    }

    /// All of these begin, spread over a pause, so that they do not all speak at once.
    pub(crate) fn spread(&mut self, who: impl ExactSizeIterator<Item = usize>, began_ns: u64) {
        let step = self.think.mean_ns() / who.len().max(1) as f64;
        for (index, who) in who.enumerate() {
            self.ends.push(Reverse((began_ns + (step * index as f64) as u64, who)));
        }
    }

    /// Somebody pauses from now on.
    pub(crate) fn begin(&mut self, who: usize, now_ns: u64) {
        let end_ns = now_ns + self.think.pause_ns(&mut self.chance);
        self.ends.push(Reverse((end_ns, who)));
    }

    /// The first whose pause is over, and since when.
    pub(crate) fn end(&mut self, now_ns: u64) -> Option<(u64, usize)> {
        self.next_ns().filter(|end_ns| *end_ns <= now_ns)?;
        self.ends.pop().map(|Reverse(ended)| ended)
    }

    /// When the next pause is over.
    pub(crate) fn next_ns(&self) -> Option<u64> {
        self.ends.peek().map(|Reverse((end_ns, _))| *end_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_understood_and_told_again() {
        for (text, think, told) in [
            ("0.5", Think::Between(5e5, 5e5), "0.5 ms"),
            ("200..400", Think::Between(2e8, 4e8), "200 to 400 ms"),
            ("exp:300", Think::About(3e8), "about 300 ms (exponential)"),
        ] {
            assert_eq!((text.parse(), think.to_string().as_str()), (Ok(think), told));
        }
        for text in ["0", "x", "5..2", "..", "exp:", "exp:0", "-1..3", "NaN"] {
            assert!(text.parse::<Think>().unwrap_err().contains("200..400"), "{text}");
        }
    }

    #[test]
    fn pauses_by_chance_have_their_bounds_and_their_mean() {
        for (text, least_ns, most_ns) in
            [("50", 5e7, 5e7), ("200..400", 2e8, 4e8), ("exp:300", 0.0, 6e9)]
        {
            let (think, mut chance): (Think, _) = (text.parse().unwrap(), Chance::of(1));
            let all: Vec<f64> = (0..20_000).map(|_| think.pause_ns(&mut chance) as f64).collect();
            assert!(all.iter().all(|pause| (least_ns..=most_ns).contains(pause)), "{text}");
            let mean = all.iter().sum::<f64>() / all.len() as f64;
            assert!((mean / think.mean_ns() - 1.0).abs() < 0.03, "{text}: {mean}");
        }
    }

    #[test]
    fn pauses_end_in_the_order_of_their_ends() {
        let mut pauses = Pauses::new("10".parse().unwrap(), 0);
        pauses.spread([7, 8].into_iter(), 1_000);
        pauses.begin(9, 2_000);
        assert_eq!((pauses.end(999), pauses.next_ns()), (None, Some(1_000)));
        let ended: Vec<_> = std::iter::from_fn(|| pauses.end(u64::MAX)).collect();
        assert_eq!(ended, [(1_000, 7), (5_001_000, 8), (10_002_000, 9)]);
        assert_eq!(pauses.next_ns(), None);
    }
}
