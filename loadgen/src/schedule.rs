//! When messages are due in an open loop, whatever has come back. It knows no clock and sends
//! nothing: it is asked what is due by now.

use crate::chance::Chance;

/// How the times lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrivals {
    /// At equal distances.
    Constant,
    /// At random, independent of one another, as many users together would: a Poisson process.
    Poisson,
}

/// The times at which one shard's messages are due.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    arrivals: Arrivals,
    gap_ns: f64,
    /// Where the next one lies, in nanoseconds since the run began.
    next_ns: f64,
    /// The equal distances are counted, so that no error of a sum creeps in.
    origin_ns: f64,
    given: u64,
    chance: Chance,
}

/// The part of a rate that one shard makes: as much as it has of those who send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// The shard, of so many.
    pub(crate) shard: usize,
    pub(crate) shards: usize,
    /// Those who send on this shard, of so many on all.
    pub(crate) senders: usize,
    pub(crate) senders_of_all: usize,
}

impl Schedule {
    /// A share in `rate` messages a second from `began_ns` on. The shares of a constant rate lie
    /// between one another, those of a random one are independent.
    pub(crate) fn new(rate: f64, arrivals: Arrivals, began_ns: u64, share: Share) -> Self {
        let own_rate = rate * share.senders as f64 / share.senders_of_all.max(1) as f64;
        // Without senders nothing is ever due.
        let gap_ns = 1e9 / own_rate;
        let origin_ns = began_ns as f64 + gap_ns * share.shard as f64 / share.shards.max(1) as f64;
        let chance = Chance::of(share.shard);
        let mut schedule =
            Self { arrivals, gap_ns, next_ns: origin_ns, origin_ns, given: 0, chance };
        if share.senders == 0 {
            schedule.next_ns = f64::INFINITY;
        } else if arrivals == Arrivals::Poisson {
            schedule.next_ns = began_ns as f64;
            schedule.advance();
        }
        schedule
    }

    /// The next time, if it has come.
    #[inline]
    pub(crate) fn due(&mut self, now_ns: u64) -> Option<u64> {
        let next = self.next_ns();
        if next > now_ns {
            return None;
        }
        self.advance();
        Some(next)
    }

    /// When the next message is due.
    pub(crate) fn next_ns(&self) -> u64 {
        self.next_ns as u64
    }

    fn advance(&mut self) {
        self.given += 1;
        self.next_ns = match self.arrivals {
            Arrivals::Constant => self.origin_ns + self.given as f64 * self.gap_ns,
            Arrivals::Poisson => self.next_ns + self.chance.exponential() * self.gap_ns,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(shard: usize, senders: usize, senders_of_all: usize) -> Share {
        Share { shard, shards: 2, senders, senders_of_all }
    }

    fn half(shard: usize) -> Share {
        share(shard, 3, 6)
    }

    #[test]
    fn a_shard_makes_as_much_as_it_has_senders() {
        let count = |shard, senders| {
            let share = share(shard, senders, 4);
            let mut schedule = Schedule::new(1000.0, Arrivals::Constant, 7, share);
            times(&mut schedule, 7 + 999_999_999).len()
        };
        assert_eq!((count(0, 3), count(1, 1)), (750, 250));
        assert_eq!((count(0, 4), count(1, 0)), (1000, 0));
    }

    #[test]
    fn random_arrivals_of_two_shards_have_nothing_in_common() {
        let schedule = |shard| Schedule::new(1000.0, Arrivals::Poisson, 0, half(shard));
        let of_first = times(&mut schedule(0), 4_000_000_000);
        let mut of_second = schedule(1);
        let mut near = 0;
        while let Some(due) = of_second.due(4_000_000_000) {
            near += usize::from(of_first.iter().any(|first| first.abs_diff(due) < 1_000));
        }
        // By chance two in two thousand.
        assert!(near < 20, "{near} of {} at the same time", of_first.len());
    }

    fn times(schedule: &mut Schedule, until_ns: u64) -> Vec<u64> {
        std::iter::from_fn(|| schedule.due(until_ns)).collect()
    }

    #[test]
    fn a_constant_rate_is_met_exactly_and_shards_interleave() {
        let schedule = |shard| Schedule::new(1000.0, Arrivals::Constant, 5_000, half(shard));
        let (mut even, mut odd) = (schedule(0), schedule(1));
        assert_eq!(times(&mut even, 5_000 + 4_000_000), [5_000, 2_005_000, 4_005_000]);
        assert_eq!(times(&mut odd, 5_000 + 4_000_000), [1_005_000, 3_005_000]);
        let rest = times(&mut even, 5_000 + 3_600_000_000_000).len();
        assert_eq!(3 + rest, 1_800_001);
    }

    #[test]
    fn random_arrivals_have_the_rate_and_the_spread_of_a_poisson_process() {
        let mut schedule = Schedule::new(10_000.0, Arrivals::Poisson, 0, half(1));
        let all = times(&mut schedule, 20_000_000_000);
        let count = all.len() as f64;
        assert!((count - 100_000.0).abs() < 1_500.0, "{count}");
        let gaps: Vec<f64> = all.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        // The standard deviation of an exponential distribution is its mean.
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.02, "{mean} {variance}");
    }

    #[test]
    fn nothing_is_due_before_its_time() {
        let mut schedule = Schedule::new(1.0, Arrivals::Constant, 100, share(0, 1, 1));
        assert_eq!(schedule.due(99), None);
        assert_eq!(schedule.due(100), Some(100));
        assert_eq!((schedule.due(1_000_000_099), schedule.next_ns()), (None, 1_000_000_100));
    }
}
