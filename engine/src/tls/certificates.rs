//! Certificates and keys from PEM files, and the choice among them by the name a client asks for
//! (RFC 6066 section 3). Nothing is fetched or renewed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, crypto::CryptoProvider};

use super::TlsError;

/// Where a certificate chain and its key are.
#[derive(Clone, Debug)]
pub(super) struct PairFiles {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl PairFiles {
    /// Reads the certificate chain, its own first.
    pub(super) fn chain(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        certificates(&self.certificate)
    }

    /// Reads the private key.
    pub(super) fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| TlsError::file(&self.key, "private key", error))
    }

    /// Reads both, and looks whether they belong together.
    pub(super) fn load(&self, provider: &CryptoProvider) -> Result<Arc<CertifiedKey>, TlsError> {
        let pair = CertifiedKey::from_der(self.chain()?, self.private_key()?, provider);
        pair.map(Arc::new).map_err(|error| TlsError::Pair {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            detail: error.to_string(),
        })
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |error| TlsError::file(path, "certificate", error);
    let found = CertificateDer::pem_file_iter(path).map_err(failed)?;
    let found = found.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    if found.is_empty() {
        return Err(TlsError::file(path, "certificate", "there is no CERTIFICATE section"));
    }
    Ok(found)
}

/// Reads certificates to trust.
pub(super) fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(path)? {
        store.add(certificate).map_err(|error| TlsError::file(path, "root certificate", error))?;
    }
    Ok(store)
}

/// Reads revocation lists.
pub(super) fn revocation_lists(
    path: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let failed = |error| TlsError::file(path, "revocation list", error);
    let found = CertificateRevocationListDer::pem_file_iter(path).map_err(failed)?;
    let found = found.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    if found.is_empty() {
        return Err(TlsError::file(path, "revocation list", "there is no X509 CRL section"));
    }
    Ok(found)
}

/// The certificates of a server.
#[derive(Debug)]
pub(super) struct Certificates {
    pub(super) default: Arc<CertifiedKey>,
    /// By lower-case name; a first label of `*` stands for any one label.
    pub(super) named: HashMap<String, Arc<CertifiedKey>>,
}

impl Certificates {
    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        self.named.get(&name).or_else(|| {
            let (_, parent) = name.split_once('.')?;
            self.named.get(&format!("*.{parent}"))
        })
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = match hello.server_name() {
            Some(name) if !self.named.is_empty() => self.find(name),
            _ => None,
        };
        Some(Arc::clone(named.unwrap_or(&self.default)))
    }
}
