//! What the system says of this process, under the names that other programs use for it. Where the
//! system says nothing, nothing is told.

use std::fs;

/// One value: name, kind, what it means, the value.
pub(super) type Sample = (&'static str, &'static str, &'static str, f64);

/// All that is known.
pub(super) fn samples() -> Vec<Sample> {
    let memory = field_of(&text("/proc/self/status"), "VmRSS:").map(|kib| kib * 1024.0);
    let limit = text("/proc/self/limits");
    let limit = limit.lines().find_map(|line| line.strip_prefix("Max open files"));
    let limit = limit.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    let open = fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as f64);
    let known = [
        ("process_resident_memory_bytes", "gauge", "Memory in use, in bytes.", memory),
        ("process_open_fds", "gauge", "Open file descriptors.", open),
        ("process_max_fds", "gauge", "File descriptors it may open.", limit),
        ("process_cpu_seconds_total", "counter", "Processor time used, in seconds.", cpu_seconds()),
    ];
    known
        .into_iter()
        .filter_map(|(name, kind, help, value)| Some((name, kind, help, value?)))
        .collect()
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn field_of(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// User and system time: fields 14 and 15 of the process's `stat`, which follow its name, which may
/// have spaces in it.
fn cpu_seconds() -> Option<f64> {
    let stat = text("/proc/self/stat");
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let mut ticks = || times.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / rustix::param::clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_itself() {
        let known = samples();
        let value = |name: &str| {
            known.iter().find(|(own, ..)| *own == name).map(|(.., value)| *value).unwrap()
        };
        assert!(value("process_resident_memory_bytes") > 100_000.0);
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_max_fds") >= value("process_open_fds"));
        let began = value("process_cpu_seconds_total");
        let mut sum = 0_u64;
        while samples().last().unwrap().3 <= began {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
    }
}
