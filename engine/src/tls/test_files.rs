//! Certificates of their own issue, as files, for tests of the engine's inside.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::{ClientTls, Tls};

/// A folder with a certificate for `localhost` and its key, removed when dropped.
pub(crate) struct Files(PathBuf);

impl Files {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("ringsock-session-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        let files = Self(folder);
        files.issue("localhost");
        files
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }

    /// Writes a new certificate of its own issue.
    pub(crate) fn issue(&self, name: &str) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        fs::write(self.certificate(), made.cert.pem()).unwrap();
        fs::write(self.key(), made.signing_key.serialize_pem()).unwrap();
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.0.join("cert.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.0.join("key.pem")
    }

    pub(crate) fn tls(&self) -> Tls {
        Tls::pem(self.certificate(), self.key()).unwrap()
    }

    pub(crate) fn trusting(&self) -> ClientTls {
        ClientTls::roots_from(self.certificate()).unwrap()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
