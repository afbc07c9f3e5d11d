//! The sizes of a data ring, and its setting-up with them. No operation is started here.

use std::io;
use std::time::Duration;

use io_uring::IoUring;

/// Sizes of a data ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RingConfig {
    /// Submissions that can wait for one system call.
    pub(crate) submission_entries: u32,
    /// Completions that can wait to be read.
    pub completion_entries: u32,
    /// Receive buffers, a power of two.
    pub receive_buffers: u16,
    /// Bytes of each.
    pub(crate) receive_buffer_bytes: usize,
    /// Sockets that may be registered; more than the process may have open are refused.
    pub(crate) registered_files: u32,
    /// How long to look for completions before sleeping.
    pub(crate) spin: Duration,
    /// NAPI busy polling, if not zero.
    pub(crate) busy_poll: Duration,
    /// Each send is a record of its own for the kernel (`MSG_EOR`).
    pub(crate) ends_records: bool,
    /// A kernel thread takes submissions and sleeps after this long without any, if not zero.
    pub(crate) submission_poll: Duration,
    /// Whether one submission may stand for any number of accepts, or receives.
    pub(crate) multishot: bool,
}

impl Default for RingConfig {
    /// 256 buffers that hold a 16 KiB message with its header: larger ones leave the cache, smaller
    /// ones cut messages of that common size.
    fn default() -> Self {
        Self {
            submission_entries: 1024,
            completion_entries: 16_384,
            receive_buffers: 256,
            receive_buffer_bytes: 16 * 1024 + 128,
            registered_files: 16 * 1024,
            spin: Duration::ZERO,
            busy_poll: Duration::ZERO,
            submission_poll: Duration::ZERO,
            ends_records: false,
            multishot: kernel_version() >= MULTISHOT_SINCE,
        }
    }
}

/// Before this kernel a multishot accept could report the descriptor of another connection when
/// task work is deferred, and one multishot receive could take all buffers in one go.
const MULTISHOT_SINCE: (u32, u32) = (6, 8);

/// The running kernel's version; nought where it has none that can be read.
fn kernel_version() -> (u32, u32) {
    let release = rustix::system::uname();
    version_of(release.release().to_str().unwrap_or_default())
}

fn version_of(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    let mut number = || numbers.next().and_then(|digits| digits.parse().ok()).unwrap_or_default();
    (number(), number())
}

/// Sets a ring up, smaller when memory is short (never on another driver: that would hide it).
pub(super) fn set_up(config: &RingConfig) -> io::Result<IoUring> {
    let mut entries = config.submission_entries;
    let mut completions = config.completion_entries;
    loop {
        let mut builder = IoUring::builder();
        builder
            .dontfork()
            .setup_single_issuer()
            .setup_submit_all()
            .setup_clamp()
            .setup_cqsize(completions);
        match config.submission_poll.as_millis() {
            0 => builder.setup_defer_taskrun(),
            // The kernel's thread runs the work itself, so there is nothing to defer.
            idle => builder.setup_sqpoll(u32::try_from(idle).unwrap_or(u32::MAX)),
        };
        match builder.build(entries) {
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && entries > 256 => {
                entries /= 2;
                completions = (completions / 2).max(entries * 2);
                tracing::warn!(
                    entries,
                    "not enough locked memory for the io_uring; trying a smaller one"
                );
            }
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_whatever_follows_the_version() {
        for (release, version) in [
            ("6.18.44-fc-v657", (6, 18)),
            ("6.8.0-31-generic", (6, 8)),
            ("6.1", (6, 1)),
            ("7", (7, 0)),
            ("", (0, 0)),
            ("unknown", (0, 0)),
        ] {
            assert_eq!(version_of(release), version, "{release}");
        }
    }
}
