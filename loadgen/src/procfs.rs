//! What a process has used, as the kernel tells it under `/proc`. Nothing is traced and nothing
//! slows the process down; threads that ended between two samples are missing from the later one.

use std::fs;
use std::io;
use std::path::Path;

/// A process at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProcessSample {
    /// CPU time of all threads, user and kernel.
    pub(crate) cpu_ns: u64,
    /// Resident memory.
    pub(crate) rss_bytes: u64,
    /// Resident memory that no file backs: what was allocated and touched.
    pub(crate) anon_bytes: u64,
    /// Calls of read, write and their relatives, as the kernel counts them; not send and receive,
    /// and none that io_uring saves. `None` where that is not told.
    pub(crate) read_write_calls: Option<u64>,
    pub(crate) threads: Vec<ThreadSample>,
}

/// A thread at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ThreadSample {
    pub(crate) id: u32,
    pub(crate) cpu_ns: u64,
    /// Time in which it could have run and had no CPU.
    pub(crate) kept_waiting_ns: u64,
    /// Times it has waited.
    pub(crate) voluntary_switches: u64,
    /// Times it was made to yield.
    pub(crate) involuntary_switches: u64,
}

impl ProcessSample {
    /// Samples a process.
    pub(crate) fn of(process: u32) -> io::Result<Self> {
        let folder = format!("/proc/{process}");
        let mut sample = Self::default();
        let status = fs::read_to_string(format!("{folder}/status"))?;
        sample.rss_bytes = field(&status, "VmRSS").unwrap_or(0) * 1024;
        sample.anon_bytes = field(&status, "RssAnon").unwrap_or(0) * 1024;
        let io = fs::read_to_string(format!("{folder}/io")).ok();
        sample.read_write_calls =
            io.and_then(|io| Some(field(&io, "syscr")? + field(&io, "syscw")?));
        for task in fs::read_dir(format!("{folder}/task"))? {
            let task = task?.path();
            // A thread that ends meanwhile takes its share with it.
            let Ok(schedule) = fs::read_to_string(task.join("schedstat")) else { continue };
            let Ok(status) = fs::read_to_string(task.join("status")) else { continue };
            let Some((cpu_ns, kept_waiting_ns)) = schedule_times(&schedule) else { continue };
            let Some(id) = thread_id(&task) else { continue };
            let switches = |name| field(&status, name).unwrap_or(0);
            sample.cpu_ns += cpu_ns;
            sample.threads.push(ThreadSample {
                id,
                cpu_ns,
                kept_waiting_ns,
                voluntary_switches: switches("voluntary_ctxt_switches"),
                involuntary_switches: switches("nonvoluntary_ctxt_switches"),
            });
        }
        Ok(sample)
    }

    /// Samples this process.
    pub(crate) fn of_self() -> Self {
        Self::of(std::process::id()).unwrap_or_default()
    }
}

/// The number of a line such as `VmRSS:     1760 kB`.
fn field(status: &str, name: &str) -> Option<u64> {
    let mut lines = status.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = lines.find(|(key, _)| *key == name)?;
    value.split_ascii_whitespace().next()?.parse().ok()
}

/// The first two numbers of `schedstat`: nanoseconds on a CPU, and waiting for one.
fn schedule_times(schedule: &str) -> Option<(u64, u64)> {
    let mut numbers = schedule.split_ascii_whitespace();
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// The number at the end of `/proc/PID/task/TID`.
fn thread_id(task: &Path) -> Option<u32> {
    task.file_name()?.to_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tringsock: server\nVmRSS:\t    1760 kB\nRssAnon:\t     112 kB\n\
        voluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t3\n";

    #[test]
    fn fields_are_found_by_their_whole_name() {
        assert_eq!(field(STATUS, "VmRSS"), Some(1760));
        assert_eq!(field(STATUS, "RssAnon"), Some(112));
        assert_eq!(field(STATUS, "voluntary_ctxt_switches"), Some(7));
        assert_eq!(field(STATUS, "nonvoluntary_ctxt_switches"), Some(3));
        assert_eq!(field(STATUS, "Rss"), None);
    }

    #[test]
    fn run_time_is_the_first_number_and_waiting_the_second() {
        assert_eq!(schedule_times("123456789 42 17\n"), Some((123_456_789, 42)));
        assert_eq!(schedule_times("5"), None);
        assert_eq!(thread_id(Path::new("/proc/7/task/4711")), Some(4711));
    }

    #[test]
    fn work_done_shows_in_the_samples_of_this_process() {
        let before = ProcessSample::of_self();
        let began = std::time::Instant::now();
        let mut memory = vec![0_u8; 64 << 20];
        let mut after = before.clone();
        // A busy machine gives a thread only part of the time.
        while after.cpu_ns.saturating_sub(before.cpu_ns) <= 20_000_000
            && began.elapsed().as_secs() < 10
        {
            memory.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
            std::hint::black_box(&memory);
            after = ProcessSample::of_self();
        }
        assert!(after.cpu_ns.saturating_sub(before.cpu_ns) > 20_000_000, "{before:?} {after:?}");
        assert!(after.anon_bytes - before.anon_bytes > 32 << 20, "{before:?} {after:?}");
        assert!(after.rss_bytes >= after.anon_bytes);
        assert!(after.threads.iter().any(|thread| thread.cpu_ns > 20_000_000), "{after:?}");
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(ProcessSample::of(u32::MAX).is_err());
    }
}
