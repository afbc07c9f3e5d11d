//! What the system trusts, for connections that were told nothing else. It is read aside and once in
//! the life of the process: the store has hundreds of certificates.

use std::sync::{Mutex, OnceLock, PoisonError};

use super::aside::aside;
use crate::tls::{ClientTls, TlsError};

static TRUST: OnceLock<ClientTls> = OnceLock::new();
/// Held by the one who reads, so that many who connect at once read once.
static READING: Mutex<()> = Mutex::new(());

/// Settings that trust what the system trusts. All connections share them, and their sessions.
///
/// # Errors
/// When the system trusts nobody; asked again, it is looked for again.
pub(super) async fn system_trust() -> Result<ClientTls, TlsError> {
    if let Some(known) = TRUST.get() {
        return Ok(known.clone());
    }
    let failed = |error: std::io::Error| TlsError::NoSystemRoots(error.to_string());
    aside(read).await.map_err(failed)?
}

fn read() -> Result<ClientTls, TlsError> {
    let _reading = READING.lock().unwrap_or_else(PoisonError::into_inner);
    match TRUST.get() {
        Some(known) => Ok(known.clone()),
        None => ClientTls::system_roots().map(|found| TRUST.get_or_init(|| found).clone()),
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};

    use super::*;
    use crate::client::block_on;

    #[test]
    fn what_the_system_trusts_is_read_once_and_then_at_hand() {
        if let Err(error) = block_on(system_trust()) {
            eprintln!("not tested: {error}");
            return;
        }
        let mut again = std::pin::pin!(system_trust());
        let polled = again.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_ready(), "nothing is waited for");
    }
}
