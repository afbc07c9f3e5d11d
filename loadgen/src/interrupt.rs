//! Ctrl-C and SIGTERM: a run that is interrupted ends in order and tells what it has measured. A
//! second signal ends the process at once, and with it the servers that it has started.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::failure::Failure;
use crate::server_process;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Exit code of an interrupted run: what shells give a process that SIGINT ended.
pub(crate) const EXIT_CODE: u8 = 130;

/// Takes the signals from here on.
pub(crate) fn watch() -> Result<(), Failure> {
    let mut signals = Signals::new([SIGINT, SIGTERM])
        .map_err(|error| Failure::usage(format!("signals cannot be taken: {error}")))?;
    thread::spawn(move || {
        for _ in signals.forever() {
            if INTERRUPTED.swap(true, Ordering::Relaxed) {
                server_process::kill_all();
                std::process::exit(i32::from(EXIT_CODE));
            }
        }
    });
    Ok(())
}

/// Whether the run is to end.
pub(crate) fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}
