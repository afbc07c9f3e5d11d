//! Under which names a server is there. A page that makes its own name point to this machine is
//! found out by the name it asks for.

use crate::handler::{Admission, BadSetting, Policy};
use crate::protocol::handshake::{Rejection, Request, Status};

/// Answers requests for these hosts, and any other with 421 (RFC 9110 section 15.5.20).
///
/// ```no_run
/// # use ringsock::{Server, policy::AllowedHosts};
/// # fn main() -> ringsock::Result<()> {
/// Server::builder()
///     .listen("127.0.0.1:9001")?
///     .policy(AllowedHosts::new(["example.org", "localhost:9001", "[::1]"])?)
///     .health("/healthz")
///     .run()
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AllowedHosts {
    hosts: Vec<String>,
}

impl AllowedHosts {
    /// These and no others: with a port only on that one, without one on any.
    ///
    /// # Errors
    /// The first text that is no host.
    pub fn new<T: AsRef<str>>(hosts: impl IntoIterator<Item = T>) -> Result<Self, BadSetting> {
        let read = |text: T| {
            let text = text.as_ref();
            let is_host = !text.is_empty() && !text.contains([' ', '/', '@', ',']);
            is_host.then(|| text.to_ascii_lowercase()).ok_or_else(|| {
                BadSetting::new(format!(
                    "'{text}' is no host: give example.org, localhost:9001 or [::1]"
                ))
            })
        };
        Ok(Self { hosts: hosts.into_iter().map(read).collect::<Result<_, _>>()? })
    }
}

/// The host without its port.
fn bare(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((bare, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => bare,
        _ => host,
    }
}

impl Policy for AllowedHosts {
    fn check(&self, request: &Request<'_>, _admission: &mut Admission) -> Result<(), Rejection> {
        let asked = request.host().unwrap_or_default();
        let same = |known: &String| {
            known.eq_ignore_ascii_case(asked) || known.eq_ignore_ascii_case(bare(asked))
        };
        match self.hosts.iter().any(same) {
            true => Ok(()),
            false => {
                Err(Rejection::new(Status::MISDIRECTED, "this server does not serve that host"))
            }
        }
    }
}
