//! What can be wrong with certificates, keys and names that TLS is set up with. Failures of single
//! connections are elsewhere.

use std::fmt;
use std::path::{Path, PathBuf};

/// TLS could not be set up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read, or does not hold what it should.
    File {
        /// Which.
        path: PathBuf,
        /// What it was to hold.
        wanted: &'static str,
        /// Why it does not.
        detail: String,
    },
    /// A certificate and its key do not make a working pair.
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        detail: String,
    },
    /// The system has no root certificates.
    NoSystemRoots(String),
    /// A name that no certificate can be for.
    BadName(String),
    /// rustls refuses the combination.
    Refused(String),
}

impl TlsError {
    pub(super) fn file(path: &Path, wanted: &'static str, detail: impl fmt::Display) -> Self {
        Self::File { path: path.to_owned(), wanted, detail: detail.to_string() }
    }

    pub(super) fn refused(detail: impl fmt::Display) -> Self {
        Self::Refused(detail.to_string())
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, wanted, detail } => write!(
                formatter,
                "{}: no {wanted} in it: {detail}; give a PEM file that this process may read",
                path.display()
            ),
            Self::Pair { certificate, key, detail } => write!(
                formatter,
                "{} and {} do not belong together: {detail}; give a certificate (its own first, then \
                 the intermediate ones) and the key it was issued for",
                certificate.display(),
                key.display()
            ),
            Self::NoSystemRoots(detail) => write!(
                formatter,
                "this system has no root certificates ({detail}): install ca-certificates, or name a file"
            ),
            Self::BadName(name) => {
                write!(formatter, "'{name}' is neither a host name nor an address to check against")
            }
            Self::Refused(detail) => write!(formatter, "TLS cannot be set up like this: {detail}"),
        }
    }
}

impl std::error::Error for TlsError {}
