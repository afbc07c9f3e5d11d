//! CPU time of pieces of work, taken in turns like that of servers. Criterion, which times many more
//! of them, finishes one before it begins the next, so two of its figures may be from two moods of the
//! machine.

use std::time::Duration;

use ringsock_bench::listener::pin;
use ringsock_bench::work::Work;
use rustix::time::{ClockId, clock_gettime};

use crate::Result;

/// A clock is read so rarely that reading it does not show.
const BETWEEN_LOOKS: Duration = Duration::from_micros(200);

/// Nanoseconds of one operation, from passes that take about `span` on a core.
pub(crate) fn nanoseconds(work: &Work, core: usize, span: Duration) -> Result<f64> {
    // A thread of its own, so that nothing else is tied to the core.
    std::thread::scope(|scope| {
        let measuring = scope.spawn(|| -> std::io::Result<f64> {
            pin(core)?;
            Ok(on_this_thread(work, span))
        });
        match measuring.join() {
            Ok(outcome) => Ok(outcome.map_err(|error| format!("{}: {error}", work.name))?),
            Err(_) => Err(format!("{}: it panicked", work.name).into()),
        }
    })
}

fn on_this_thread(work: &Work, span: Duration) -> f64 {
    let mut pass = work.prepare();
    let mut time = |passes: u64| {
        let began = cpu_time();
        (0..passes).for_each(|_| pass());
        cpu_time() - began
    };
    // The first passes grow vectors, and say how many make a look at the clock worthwhile.
    let mut batch = 1;
    while time(batch) < BETWEEN_LOOKS {
        batch *= 2;
    }
    let (mut passes, mut spent) = (0, Duration::ZERO);
    while spent < span {
        spent += time(batch);
        passes += batch;
    }
    spent.as_nanos() as f64 / (passes * work.operations) as f64
}

/// CPU time of this thread: what it waits while others run is not in it.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringsock_bench::work;

    #[test]
    fn what_is_a_thousand_times_as_much_takes_longer() {
        let time = |name: &str| {
            let piece = work::find(name).unwrap();
            nanoseconds(&piece, 0, Duration::from_millis(5)).unwrap()
        };
        let (short, long) = (time("memcpy/1024 B"), time("memcpy/1048576 B"));
        assert!(short > 0.0 && long > short, "{short} {long}");
    }
}
