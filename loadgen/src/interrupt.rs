//! Ctrl-C and SIGTERM: a run that is interrupted ends in order and tells what it has measured. A
//! second signal ends the process at once.

use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::failure::Failure;

static INTERRUPTED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Exit code of an interrupted run: what shells give a process that SIGINT ended.
pub(crate) const EXIT_CODE: u8 = 130;

/// Takes the signals from here on.
pub(crate) fn watch() -> Result<(), Failure> {
    for signal in [SIGINT, SIGTERM] {
        // The first registered is called first: it ends the process if the flag is set already.
        flag::register_conditional_shutdown(signal, i32::from(EXIT_CODE), Arc::clone(&INTERRUPTED))
            .and_then(|_| flag::register(signal, Arc::clone(&INTERRUPTED)))
            .map_err(|error| Failure::usage(format!("signals cannot be taken: {error}")))?;
    }
    Ok(())
}

/// Whether the run is to end.
pub(crate) fn is_interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}
