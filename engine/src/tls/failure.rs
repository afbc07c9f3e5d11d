//! Why TLS failed on one connection, in the few kinds that are counted apart. What is told to the
//! peer is an alert (RFC 8446 section 6), made where the failure is found.

use std::fmt;

use rustls::{AlertDescription, Error};

/// The kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureReason {
    /// The peer's first bytes are plain HTTP.
    PlainHttp,
    /// No version, cipher suite, group or protocol in common.
    NothingInCommon,
    /// A certificate is missing, or not believed.
    Certificate,
    /// The peer sent an alert.
    PeerAlert,
    /// A record that is not what the peer's keys would make.
    BadRecord,
    /// What was received breaks the protocol.
    Malformed,
}

/// A failure with its explanation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// Which kind.
    pub(crate) reason: FailureReason,
    detail: String,
}

impl Failure {
    pub(super) fn new(reason: FailureReason, detail: impl fmt::Display) -> Self {
        Self { reason, detail: detail.to_string() }
    }

    pub(super) fn malformed(detail: impl fmt::Display) -> Self {
        Self::new(FailureReason::Malformed, detail)
    }

    pub(super) fn of_handshake(error: &Error) -> Self {
        let reason = match error {
            Error::PeerIncompatible(_) | Error::NoApplicationProtocol => {
                FailureReason::NothingInCommon
            }
            Error::InvalidCertificate(_)
            | Error::NoCertificatesPresented
            | Error::UnsupportedNameType
            | Error::InvalidCertRevocationList(_) => FailureReason::Certificate,
            Error::AlertReceived(_) => FailureReason::PeerAlert,
            Error::DecryptError => FailureReason::BadRecord,
            _ => FailureReason::Malformed,
        };
        Self::new(reason, error)
    }

    pub(super) fn of_alert(description: u8) -> Self {
        let description = AlertDescription::from(description);
        Self::new(FailureReason::PeerAlert, Error::AlertReceived(description))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TLS: {}", self.detail)
    }
}
