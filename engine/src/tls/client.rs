//! What the TLS of outbound connections is made of: whom to trust and what to show. It resolves no
//! name and opens no connection.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::certificates::{PairFiles, roots};
use super::session::Session;
use super::{TlsError, provider};

/// Servers whose sessions are remembered for resumption.
const SESSIONS_KEPT_MAX: usize = 256;

/// Settings of outbound connections that speak TLS 1.2 and 1.3. Clones share their sessions.
#[derive(Clone, Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
}

impl ClientTls {
    /// Trusts what the system trusts: its certificate store, or what `SSL_CERT_FILE` names.
    ///
    /// # Errors
    /// [`TlsError::NoSystemRoots`].
    pub fn system_roots() -> Result<Self, TlsError> {
        let found = rustls_native_certs::load_native_certs();
        let mut store = RootCertStore::empty();
        let (added, _unusable) = store.add_parsable_certificates(found.certs);
        if added == 0 {
            let errors: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
            return Err(TlsError::NoSystemRoots(errors.join("; ")));
        }
        Self::trusting(store, None)
    }

    /// Trusts the certificates of a PEM file and no others.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn roots_from(path: impl AsRef<Path>) -> Result<Self, TlsError> {
        Self::trusting(roots(path.as_ref())?, None)
    }

    /// The same, and shows this certificate to servers that ask for one.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn with_certificate(
        roots_path: impl AsRef<Path>,
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, TlsError> {
        let files = PairFiles {
            certificate: certificate.as_ref().to_owned(),
            key: key.as_ref().to_owned(),
        };
        Self::trusting(roots(roots_path.as_ref())?, Some(&files))
    }

    /// Takes any certificate of any server: whoever is in between can read and change everything.
    /// For measuring and for tests against servers of one's own.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn insecure() -> Result<Self, TlsError> {
        Self::verifying(Arc::new(AnyCertificate(provider())), None)
    }

    fn trusting(store: RootCertStore, files: Option<&PairFiles>) -> Result<Self, TlsError> {
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider());
        Self::verifying(verifier.build().map_err(TlsError::refused)?, files)
    }

    fn verifying(
        verifier: Arc<dyn ServerCertVerifier>,
        files: Option<&PairFiles>,
    ) -> Result<Self, TlsError> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::refused)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match files {
            None => builder.with_no_client_auth(),
            Some(files) => {
                // Loaded as a pair first, because its errors name the files.
                files.load(&provider())?;
                builder
                    .with_client_auth_cert(files.chain()?, files.private_key()?)
                    .map_err(TlsError::refused)?
            }
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::in_memory_sessions(SESSIONS_KEPT_MAX);
        config.enable_secret_extraction = true;
        Ok(Self { config: Arc::new(config) })
    }

    /// The session of a connection to this host.
    pub(crate) fn session(&self, host: &str) -> Result<Session, TlsError> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| TlsError::BadName(host.to_owned()))?;
        Session::client(Arc::clone(&self.config), name)
    }
}

/// Believes every certificate, but still wants the handshake signed with its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
