//! With which certificates TLS is spoken, as the settings name them. What is in the files is the
//! engine's to read.

use std::path::PathBuf;

use ringsock::Tls;

use super::settings::{Settings, Table};

/// What TLS is spoken with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    pair: Pair,
    /// By the names that clients ask for.
    named: Vec<(String, Pair)>,
    /// Who may issue the certificates of clients, if those are to show one.
    client_roots: Option<PathBuf>,
    only_tls13: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
}

impl TlsFiles {
    pub(super) fn read(settings: &Settings) -> Result<Option<Self>, String> {
        let path = |key| settings.read(key, path_of);
        let (certificate, key) = (path("tls.certificate")?, path("tls.key")?);
        let client_roots = path("tls.client_roots")?;
        let only_tls13 = settings.read("tls.minimum_version", |text| match text {
            "1.2" => Ok(false),
            "1.3" => Ok(true),
            _ => Err(format!("'{text}' is no version that is spoken: give 1.2 or 1.3")),
        })?;
        let named = settings.tables("tls.name").iter().map(named);
        let named = named.collect::<Result<Vec<_>, String>>()?;
        match (certificate, key) {
            (Some(certificate), Some(key)) => Ok(Some(Self {
                pair: Pair { certificate, key },
                named,
                client_roots,
                only_tls13: only_tls13.unwrap_or(false),
            })),
            (None, None) if client_roots.is_none() && only_tls13.is_none() && named.is_empty() => {
                Ok(None)
            }
            _ => Err("tls needs both certificate and key: tls.certificate (--tls-cert) and tls.key (--tls-key)"
                .to_owned()),
        }
    }

    /// Reads the files.
    pub(crate) fn load(&self) -> Result<Tls, String> {
        let load = || {
            let mut tls = Tls::pem(&self.pair.certificate, &self.pair.key)?;
            for (name, Pair { certificate, key }) in &self.named {
                tls = tls.server_name(name, certificate, key)?;
            }
            if let Some(roots) = &self.client_roots {
                tls = tls.client_certificates(roots)?;
            }
            if self.only_tls13 { tls.only_tls13() } else { Ok(tls) }
        };
        load().map_err(|error: ringsock::tls::TlsError| error.to_string())
    }
}

fn path_of(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(text.into()) }
}

/// A name with its pair.
fn named(table: &Table) -> Result<(String, Pair), String> {
    let path = |key| Ok::<_, String>(table.values.read(key, path_of)?.unwrap_or_default());
    let pair = Pair { certificate: path("certificate")?, key: path("key")? };
    let name = table.values.read("name", |name| match name.strip_prefix("*.").unwrap_or(name) {
        "" => Err("it is empty".to_owned()),
        rest if rest.contains(['*', '/', ':', ' ']) => {
            Err(format!("'{name}' is no name: give example.org or *.example.org"))
        }
        _ => Ok(name.to_owned()),
    })?;
    Ok((name.unwrap_or_default(), pair))
}
