//! What a process and those that it started have used, as the kernel tells it under `/proc`. Nothing
//! is traced and nothing slows them down; what ended between two samples is missing from the later
//! one.

use std::fs;
use std::io;
use std::path::Path;

/// Generations of processes that are looked at: a shell that starts a script that starts workers.
const GENERATIONS_MAX: usize = 8;

/// A process and its descendants at one moment, all together.
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
    /// Which processes it is of.
    pub(crate) processes: Vec<u32>,
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
    /// Samples a process and its descendants.
    pub(crate) fn of(process: u32) -> io::Result<Self> {
        let mut sample = Self::default();
        let mut generation = sample.add(process)?;
        for _ in 1..GENERATIONS_MAX {
            // One that ends meanwhile takes its share with it.
            let next = generation.iter().filter_map(|child| sample.add(*child).ok());
            generation = next.flatten().collect();
        }
        Ok(sample)
    }

    /// Samples this process, which starts only servers: those are not its own work.
    pub(crate) fn of_self() -> Self {
        let mut sample = Self::default();
        // What cannot be told is nothing.
        let _ = sample.add(std::process::id());
        sample
    }

    /// Adds one process; its children.
    fn add(&mut self, process: u32) -> io::Result<Vec<u32>> {
        let folder = format!("/proc/{process}");
        let status = fs::read_to_string(format!("{folder}/status"))?;
        self.processes.push(process);
        self.rss_bytes += field(&status, "VmRSS").unwrap_or(0) * 1024;
        self.anon_bytes += field(&status, "RssAnon").unwrap_or(0) * 1024;
        let io = fs::read_to_string(format!("{folder}/io")).ok();
        let calls = io.and_then(|io| Some(field(&io, "syscr")? + field(&io, "syscw")?));
        self.read_write_calls = match (self.read_write_calls, calls) {
            (Some(known), Some(more)) => Some(known + more),
            (known, more) => known.or(more),
        };
        let mut children = Vec::new();
        for task in fs::read_dir(format!("{folder}/task"))? {
            let task = task?.path();
            let listed = fs::read_to_string(task.join("children")).unwrap_or_default();
            children
                .extend(listed.split_ascii_whitespace().filter_map(|id| id.parse::<u32>().ok()));
            // A thread that ends meanwhile takes its share with it.
            let Ok(schedule) = fs::read_to_string(task.join("schedstat")) else { continue };
            let Ok(status) = fs::read_to_string(task.join("status")) else { continue };
            let Some((cpu_ns, kept_waiting_ns)) = schedule_times(&schedule) else { continue };
            let Some(id) = thread_id(&task) else { continue };
            let switches = |name| field(&status, name).unwrap_or(0);
            self.cpu_ns += cpu_ns;
            self.threads.push(ThreadSample {
                id,
                cpu_ns,
                kept_waiting_ns,
                voluntary_switches: switches("voluntary_ctxt_switches"),
                involuntary_switches: switches("nonvoluntary_ctxt_switches"),
            });
        }
        Ok(children)
    }
}

/// Whether a process of this group runs: one that has ended and was not waited for does not.
pub(crate) fn has_running(group: u32) -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let states = processes.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    states.filter_map(|stat| state_and_group(&stat)).any(|(state, of)| of == group && state != 'Z')
}

/// State and process group of a line such as `17 (a name) S 1 17 17 0 …`.
fn state_and_group(stat: &str) -> Option<(char, u32)> {
    let mut words = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = words.next()?.chars().next()?;
    Some((state, words.nth(1)?.parse().ok()?))
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
    use std::os::unix::process::CommandExt;
    use std::process::Command;

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
    fn a_name_may_look_like_the_rest_of_its_line() {
        assert_eq!(state_and_group("17 (a b) S 1 16 15 0 -1"), Some(('S', 16)));
        assert_eq!(state_and_group("17 (a) Z 1 (2) R 3) Z 4 5 6"), Some(('Z', 5)));
        assert_eq!(state_and_group("17"), None);
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
        let is_busy =
            |sample: &ProcessSample| sample.threads.iter().any(|thread| thread.cpu_ns > 20_000_000);
        // A busy machine gives a thread only part of the time.
        // Other tests keep other threads busy.
        while !(is_busy(&after) && after.cpu_ns > before.cpu_ns + 1_000_000)
            && began.elapsed().as_secs() < 10
        {
            memory.iter_mut().for_each(|byte| *byte = byte.wrapping_add(1));
            std::hint::black_box(&memory);
            after = ProcessSample::of_self();
        }
        assert!(is_busy(&after), "{after:?}");
        assert!(after.cpu_ns.saturating_sub(before.cpu_ns) > 1_000_000, "{before:?} {after:?}");
        assert!(after.anon_bytes > 32 << 20, "{before:?} {after:?}");
        assert!(after.rss_bytes >= after.anon_bytes);
        assert!(after.threads.iter().any(|thread| thread.cpu_ns > 20_000_000), "{after:?}");
    }

    #[test]
    fn what_descendants_do_is_in_the_sample() {
        let busy = "sh -c 'while :; do :; done' & wait";
        let mut child = Command::new("sh").args(["-c", busy]).process_group(0).spawn().unwrap();
        let began = std::time::Instant::now();
        let mut sample = ProcessSample::default();
        while sample.cpu_ns < 50_000_000 && began.elapsed().as_secs() < 20 {
            std::thread::sleep(std::time::Duration::from_millis(20));
            sample = ProcessSample::of(child.id()).unwrap();
        }
        let group = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
        child.wait().unwrap();
        assert!(sample.cpu_ns >= 50_000_000 && sample.threads.len() == 2, "{sample:?}");
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(ProcessSample::of(u32::MAX).is_err());
    }
}
