//! Which web pages may open connections (RFC 6455 section 10.2). Only browsers tell the truth about
//! it, so it protects their users and proves nothing about anybody else.

use crate::handler::{Admission, BadSetting, Policy};
use crate::protocol::handshake::{Rejection, Request, Status};

/// Accepts upgrades from pages of these origins: scheme, host and port must be the same. Others,
/// `null` among them, are answered 403. Cookies go with every connection that any page opens, so
/// a server that knows its users by cookies needs this.
///
/// ```no_run
/// # use ringsock::{Conn, Handler, Message, Server, policy::AllowedOrigins};
/// # struct Echo;
/// # impl Handler for Echo {
/// #     type State = ();
/// #     fn on_message(&mut self, _: &mut Conn<'_, ()>, _: Message<'_>) {}
/// # }
/// # fn main() -> ringsock::Result<()> {
/// Server::builder()
///     .listen("127.0.0.1:9001")?
///     .policy(AllowedOrigins::new(["https://example.org", "http://localhost:3000"])?)
///     .serve(|_shard| Echo)
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct AllowedOrigins {
    /// In lower case and without the port that goes with the scheme, as browsers write them.
    origins: Vec<String>,
    without: bool,
}

impl AllowedOrigins {
    /// These and no others. A request without `Origin` is accepted: it comes from no browser.
    ///
    /// # Errors
    /// The first text that is no origin.
    pub fn new<T: AsRef<str>>(origins: impl IntoIterator<Item = T>) -> Result<Self, BadSetting> {
        let read = |text: T| {
            normal(text.as_ref()).ok_or_else(|| {
                BadSetting::new(format!(
                    "'{}' is no origin: give https://example.org or http://localhost:3000, without a path",
                    text.as_ref()
                ))
            })
        };
        let origins = origins.into_iter().map(read).collect::<Result<_, _>>()?;
        Ok(Self { origins, without: true })
    }

    /// Refuses requests without `Origin` too.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.without = false;
        self
    }
}

/// An origin as it is compared; `None` if it is none.
fn normal(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port.parse::<u16>().ok()?)),
        _ => (rest, None),
    };
    let host_fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_address = inner.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    let is_name = !host.contains(['[', ']', ':']);
    if scheme.is_empty()
        || host.is_empty()
        || !host.bytes().all(host_fits)
        || !(is_address || is_name)
    {
        return None;
    }
    let scheme = scheme.to_ascii_lowercase();
    let usual = match scheme.as_str() {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    let host = host.to_ascii_lowercase();
    Some(match port.filter(|port| Some(*port) != usual) {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
}

impl Policy for AllowedOrigins {
    fn check(&self, request: &Request<'_>, _admission: &mut Admission) -> Result<(), Rejection> {
        if !request.is_upgrade() {
            return Ok(());
        }
        let is_origin = |(name, _): &(&str, &[u8])| name.eq_ignore_ascii_case("origin");
        let allowed = match request.headers().filter(is_origin).count() {
            0 => self.without,
            1 => request.origin().and_then(normal).is_some_and(|own| self.origins.contains(&own)),
            // Which one counts is for nobody to guess.
            _ => false,
        };
        match allowed {
            true => Ok(()),
            false => {
                Err(Rejection::new(Status::FORBIDDEN, "pages of this origin may not connect here"))
            }
        }
    }
}
