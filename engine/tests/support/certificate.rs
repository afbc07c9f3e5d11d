//! A certificate of its own issue with its key, as files that last as long as the value does.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ringsock::Tls;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// For `localhost` and `127.0.0.1`.
pub(crate) struct Certificate {
    folder: PathBuf,
}

impl Certificate {
    pub(crate) fn issue() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("ringsock-test-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a folder for certificates");
        let certificate = Self { folder };
        certificate.issue_again();
        certificate
    }

    /// Replaces both files.
    pub(crate) fn issue_again(&self) {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
        fs::write(self.path(), made.cert.pem()).expect("the certificate is written");
        let key = made.signing_key.serialize_pem();
        fs::write(self.folder.join("key.pem"), key).expect("the key is written");
    }

    /// The certificate's file, which is also what to trust.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join("cert.pem")
    }

    /// For a server.
    pub(crate) fn tls(&self) -> Tls {
        Tls::pem(self.path(), self.folder.join("key.pem")).expect("a pair")
    }

    /// For a server that shares no code with the engine's.
    #[allow(dead_code, reason = "not every test that has this module plays servers")]
    pub(crate) fn server_config(&self) -> Arc<ServerConfig> {
        let certificate = CertificateDer::from_pem_file(self.path()).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(self.folder.join("key.pem")).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("a pair");
        Arc::new(config)
    }

    /// For a client that shares no code with the engine's.
    pub(crate) fn client_config(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        let der = CertificateDer::from_pem_file(self.path()).expect("a certificate");
        roots.add(der).expect("a certificate that can be trusted");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
