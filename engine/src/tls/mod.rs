//! TLS as bytes in, bytes out, in either role (RFC 8446, RFC 5246). It owns no socket, reads no clock
//! except to judge certificates, and knows nothing of WebSocket.
//!
//! Handshakes are rustls' own. Once one is complete its keys are taken out and records are opened
//! where they were received and sealed into the memory that is sent, with rustls' ciphers: its own
//! record layer would allocate and copy each record twice more in each direction.
#![forbid(unsafe_code)]

mod certificates;
mod client;
mod error;
mod failure;
mod handshake;
#[cfg(test)]
mod post_handshake_tests;
mod records;
mod server;
#[cfg(test)]
mod server_tests;
mod session;
#[cfg(test)]
mod session_tests;
#[cfg(test)]
pub(crate) mod test_files;
mod traffic;
mod unsealed;

use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, aws_lc_rs};

pub use client::ClientTls;
pub use error::TlsError;
pub(crate) use failure::{Failure, FailureReason};
pub use handshake::TlsFacts;
pub use server::Tls;
pub(crate) use session::{Session, Step};
pub(crate) use traffic::Ending;

/// The cryptography that both roles use. AES-128-GCM comes first: it is as safe here as the 256-bit
/// form and about a fifth faster.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let make = || {
        let mut provider = aws_lc_rs::default_provider();
        let is_aes_128 = |suite: &rustls::SupportedCipherSuite| {
            format!("{:?}", suite.suite()).contains("AES_128")
        };
        provider.cipher_suites.sort_by_key(|suite| !is_aes_128(suite));
        Arc::new(provider)
    };
    Arc::clone(PROVIDER.get_or_init(make))
}
