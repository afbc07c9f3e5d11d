//! What this process holds and has used, as the kernel counts it. Only meaningful while nothing
//! else runs in the process.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
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
    let names =
        tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.starts_with("shard-")).count()
}

/// For each shard's thread the cores it may run on, as the kernel lists them.
pub(crate) fn shard_cores() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").expect("the list of threads");
    let statuses = tasks.flatten().filter_map(|task| {
        let name = fs::read_to_string(task.path().join("comm")).ok()?;
        name.starts_with("shard-").then(|| fs::read_to_string(task.path().join("status")).ok())?
    });
    let cores = statuses.filter_map(|status| {
        let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        Some(line.trim().to_owned())
    });
    let mut cores: Vec<String> = cores.collect();
    cores.sort();
    cores
}

/// Memory that belongs to this process alone, in bytes.
pub(crate) fn memory_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("the process's status");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("RssAnon");
    let kibibytes = line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number");
    kibibytes * 1024
}

/// Time that the present threads were ready to run and had no core.
pub(crate) fn starved_time() -> Duration {
    let tasks = fs::read_dir("/proc/self/task").expect("the list of threads");
    let lines = tasks.flatten();
    let lines = lines.filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok());
    let nanoseconds = lines.filter_map(|line| line.split(' ').nth(1)?.parse::<u64>().ok());
    Duration::from_nanos(nanoseconds.sum())
}

/// Tells the processor time that the process has used. Once made it needs no further descriptor.
pub(crate) struct ProcessorClock(File);

impl ProcessorClock {
    pub(crate) fn new() -> Self {
        Self(File::open("/proc/self/stat").expect("the process's statistics"))
    }

    /// User and system time of all threads, those that have ended included, in steps of 10 ms.
    pub(crate) fn used(&self) -> Duration {
        let mut text = [0; 2_048];
        let length = self.0.read_at(&mut text, 0).expect("they can be read again");
        let text = String::from_utf8_lossy(&text[..length]);
        // The program's name may contain anything, but nothing after it contains a parenthesis.
        let (_, fields) = text.rsplit_once(") ").expect("a name in parentheses");
        let ticks = fields.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>());
        Duration::from_millis(10 * ticks.map(|ticks| ticks.expect("a number")).sum::<u64>())
    }
}

/// Waits until `found` says so, and fails with `what` if that takes longer than `limit`.
pub(crate) fn wait_until(limit: Duration, what: &str, mut found: impl FnMut() -> bool) {
    let started = Instant::now();
    while !found() {
        assert!(started.elapsed() < limit, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
