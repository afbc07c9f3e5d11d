//! What this process holds and has used, as the kernel counts it. Only meaningful while nothing
//! else runs in the process.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// Open file descriptors.
pub(crate) fn descriptors() -> usize {
    // Reading the list needs one descriptor itself.
    fs::read_dir("/proc/self/fd").expect("the list of descriptors").count() - 1
}

/// Threads of shards.
pub(crate) fn shard_threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").expect("the list of threads");
    let names = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.starts_with("shard-")).count()
}

/// Memory that belongs to this process alone, in bytes.
pub(crate) fn memory_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("the process's status");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("RssAnon");
    let kibibytes = line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number");
    kibibytes * 1024
}

/// Sums one column over the threads: 0 is the time they ran, 1 the time they waited for a core.
fn schedule(column: usize) -> Duration {
    let tasks = fs::read_dir("/proc/self/task").expect("the list of threads");
    let lines = tasks.flatten();
    let lines = lines.filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok());
    let nanoseconds = lines.filter_map(|line| line.split(' ').nth(column)?.parse().ok());
    Duration::from_nanos(nanoseconds.sum())
}

/// Processor time that the present threads have used.
pub(crate) fn processor_time() -> Duration {
    schedule(0)
}

/// Time that the present threads were ready to run and had no core.
pub(crate) fn starved_time() -> Duration {
    schedule(1)
}

/// Waits until `found` says so, and fails with `what` if that takes longer than `limit`.
pub(crate) fn wait_until(limit: Duration, what: &str, mut found: impl FnMut() -> bool) {
    let started = Instant::now();
    while !found() {
        assert!(started.elapsed() < limit, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
