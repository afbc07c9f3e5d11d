//! What a server's TLS is made of: certificates, versions, tickets, and their replacement while it
//! runs. No connection is handled here.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::{ProducesTickets, ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};

use super::certificates::{Certificates, PairFiles, revocation_lists, roots};
use super::session::Session;
use super::{TlsError, provider};

/// Sessions of TLS 1.2 clients without tickets that are remembered; tickets cost the server nothing.
const SESSIONS_KEPT_MAX: usize = 256;
/// Tickets sent to each TLS 1.3 client: one, because a browser opens one WebSocket at a time.
const TICKETS_SENT: usize = 1;

/// Certificates and settings of a server that speaks TLS 1.2 and 1.3. Clones share everything, so
/// that [`reload`](Self::reload) reaches a server that runs.
///
/// ```no_run
/// # use ringsock::{Conn, Handler, Message, Server, Tls};
/// # struct Echo;
/// # impl Handler for Echo {
/// #     type State = ();
/// #     fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) { conn.send(message); }
/// # }
/// let tls = Tls::pem("cert.pem", "key.pem")?.server_name("*.example.org", "org.pem", "org.key")?;
/// Server::builder().listen("[::]:443")?.tls(tls).serve(|_shard| Echo)?;
/// # Ok::<(), ringsock::SetupError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tls {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    sources: Sources,
    /// For clients without certificates; see [`Sources::config`].
    tickets: Arc<dyn ProducesTickets>,
    config: RwLock<Arc<ServerConfig>>,
}

/// What is read again at a reload.
#[derive(Clone, Debug)]
struct Sources {
    default: PairFiles,
    named: Vec<(String, PairFiles)>,
    client_roots: Option<PathBuf>,
    revocation_list: Option<PathBuf>,
    tls12: bool,
}

impl Tls {
    /// The certificate chain (its own first) and the private key of the server, each a PEM file.
    ///
    /// # Errors
    /// [`TlsError`]: a file that cannot be read or holds something else, a key of another certificate.
    pub fn pem(certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, TlsError> {
        Self::from_sources(Sources {
            default: pair(certificate, key),
            named: Vec::new(),
            client_roots: None,
            revocation_list: None,
            tls12: true,
        })
    }

    /// Another certificate for clients that ask for this name (SNI): `example.org`, or `*.example.org`
    /// for every name one label longer. Whoever asks for no known name gets the first certificate.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn server_name(
        self,
        name: &str,
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self, TlsError> {
        let mut sources = self.shared.sources.clone();
        sources.named.push((name.to_ascii_lowercase(), pair(certificate, key)));
        Self::from_sources(sources)
    }

    /// Demands a certificate of every client, issued by one of those in this PEM file. After a
    /// [`reload`](Self::reload) each is asked for it again: nobody resumes a session of before, in
    /// which it would not be.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn client_certificates(self, roots: impl AsRef<Path>) -> Result<Self, TlsError> {
        let client_roots = Some(roots.as_ref().to_owned());
        Self::from_sources(Sources { client_roots, ..self.shared.sources.clone() })
    }

    /// Refuses client certificates that are on the revocation lists in this PEM file, one for each
    /// certificate that issues any: a certificate of whose issuer there is no list is refused, too.
    /// How old a list is does not matter; [`reload`](Self::reload) reads a newer one.
    ///
    /// # Errors
    /// [`TlsError`]; also when [`client_certificates`](Self::client_certificates) was not called
    /// before.
    pub fn revocation_list(self, path: impl AsRef<Path>) -> Result<Self, TlsError> {
        if self.shared.sources.client_roots.is_none() {
            return Err(TlsError::refused(
                "a revocation list is about client certificates: say first whose are accepted",
            ));
        }
        let revocation_list = Some(path.as_ref().to_owned());
        Self::from_sources(Sources { revocation_list, ..self.shared.sources.clone() })
    }

    /// Refuses clients that speak nothing newer than TLS 1.2.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn only_tls13(self) -> Result<Self, TlsError> {
        Self::from_sources(Sources { tls12: false, ..self.shared.sources.clone() })
    }

    /// Reads all files again. New connections use what is found; open ones go on with what they
    /// have, and tickets stay valid unless client certificates are demanded. When anything is wrong
    /// nothing changes.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn reload(&self) -> Result<(), TlsError> {
        let config = self.shared.sources.config(&self.shared.tickets)?;
        *self.shared.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        Ok(())
    }

    fn from_sources(sources: Sources) -> Result<Self, TlsError> {
        let tickets = Ticketer::new().map_err(TlsError::refused)?;
        let config = RwLock::new(sources.config(&tickets)?);
        Ok(Self { shared: Arc::new(Shared { sources, tickets, config }) })
    }

    /// The session of a connection that a client has just opened.
    pub(crate) fn session(&self) -> Session {
        let config = self.shared.config.read().unwrap_or_else(PoisonError::into_inner);
        Session::server(Arc::clone(&config))
    }
}

fn pair(certificate: impl AsRef<Path>, key: impl AsRef<Path>) -> PairFiles {
    PairFiles { certificate: certificate.as_ref().to_owned(), key: key.as_ref().to_owned() }
}

impl Sources {
    /// What connections are made with from now on. A ticket stands for the certificate that its
    /// holder has shown, and nobody looks at that again: so where certificates are demanded, tickets
    /// last only until the next reload, which may be there to let somebody in no more.
    fn config(&self, tickets: &Arc<dyn ProducesTickets>) -> Result<Arc<ServerConfig>, TlsError> {
        let tickets = match &self.client_roots {
            None => Arc::clone(tickets),
            Some(_) => Ticketer::new().map_err(TlsError::refused)?,
        };
        let provider = provider();
        let default = self.default.load(&provider)?;
        let named =
            self.named.iter().map(|(name, files)| Ok((name.clone(), files.load(&provider)?)));
        let named = named.collect::<Result<HashMap<_, _>, TlsError>>()?;
        let versions = if self.tls12 { &[&TLS13, &TLS12][..] } else { &[&TLS13] };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(TlsError::refused)?;
        let builder = match &self.client_roots {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = Arc::new(roots(path)?);
                let lists = self.revocation_list.as_deref().map(revocation_lists).transpose()?;
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                    .with_crls(lists.unwrap_or_default());
                builder.with_client_cert_verifier(verifier.build().map_err(TlsError::refused)?)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(Certificates { default, named }));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.ticketer = tickets;
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS_KEPT_MAX);
        config.send_tls13_tickets = TICKETS_SENT;
        config.enable_secret_extraction = true;
        Ok(Arc::new(config))
    }
}
