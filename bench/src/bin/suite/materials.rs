//! Files that servers and the load generator are given, the same for everybody: a certificate with
//! its key, and a document to compress.
//!
//! They are made anew for each run of the suite, in a folder that goes with the value.

use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use ringsock_bench::documents;

use crate::Result;
use crate::load::DOCUMENT_BYTES;

/// The folder with the files.
#[derive(Debug)]
pub(crate) struct Materials {
    folder: PathBuf,
}

impl Materials {
    /// Makes all files.
    pub(crate) fn new() -> Result<Self> {
        let materials = Self { folder: new_folder()? };
        // Whom clients ask for: the address that servers listen on.
        let pair = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
        fs::write(materials.certificate(), pair.cert.pem())?;
        fs::write(materials.key(), pair.signing_key.serialize_pem())?;
        fs::write(materials.document(), documents::json(DOCUMENT_BYTES))?;
        Ok(materials)
    }

    /// The certificate, which is also what to trust.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join("certificate.pem")
    }

    /// Its key.
    pub(crate) fn key(&self) -> PathBuf {
        self.folder.join("key.pem")
    }

    /// The JSON to compress.
    pub(crate) fn document(&self) -> PathBuf {
        self.folder.join("document.json")
    }

    /// Where the load generator writes what came out.
    pub(crate) fn result(&self) -> PathBuf {
        self.folder.join("result.json")
    }
}

impl Drop for Materials {
    fn drop(&mut self) {
        // Nobody needs them any more; what is left is small and in a folder for such files.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A folder that was not there before, for this user only: there will be a key in it.
fn new_folder() -> io::Result<PathBuf> {
    let mut number = 0;
    loop {
        let name = format!("ringsock-suite-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        match DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            outcome => return outcome.map(|()| folder),
        }
    }
}
