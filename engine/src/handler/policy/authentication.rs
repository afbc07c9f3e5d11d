//! Who the client is, by what it sends along. It keeps no session, and it sends no password anywhere:
//! what is right is for a closure or a table to say.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;

use crate::handler::{Admission, Policy};
use crate::protocol::handshake::{Rejection, Request, Status};

/// What a client has sent to be recognised by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// A name and a password (RFC 7617).
    Password {
        /// The name, which has no colon.
        user: String,
        /// The password.
        password: String,
    },
    /// A token: from `Authorization: Bearer` (RFC 6750), a cookie or the query.
    Token(String),
}

/// Where a client may put them.
#[derive(Clone, Debug)]
enum Place {
    Basic { realm: String },
    Bearer,
    Cookie(String),
    Query(String),
}

/// Says who has sent these credentials, or nobody.
type Verify = Box<dyn Fn(&Credentials) -> Option<String> + Send + Sync>;

/// Lets in who can say who it is, before the handler is asked; the handler reads it with
/// [`Request::identity`]. Everybody else is answered 401. The places are looked at in the order they
/// were named, and the first that has credentials decides. For an answer that has to be waited for,
/// use [`Upgrade::later`](crate::Upgrade::later) instead.
///
/// A token in the query is what browsers can do that open a WebSocket elsewhere, but addresses end
/// up in logs: let it be valid once or for a short time. A cookie needs
/// [`AllowedOrigins`](crate::policy::AllowedOrigins) beside it.
///
/// ```no_run
/// # use ringsock::policy::{Authentication, Credentials, Secrets};
/// # use ringsock::{Conn, Handler, Message, Server};
/// # struct Echo;
/// # impl Handler for Echo {
/// #     type State = ();
/// #     fn on_message(&mut self, _: &mut Conn<'_, ()>, _: Message<'_>) {}
/// # }
/// # fn main() -> ringsock::Result<()> {
/// let secrets = Secrets::new([("ada", "correct horse"), ("bob", "battery staple")]);
/// Server::builder()
///     .listen("127.0.0.1:9001")?
///     .policy_at("/chat", Authentication::new(secrets).bearer().query("token"))
///     .policy_at("/admin", Authentication::new(|sent: &Credentials| match sent {
///         Credentials::Password { user, .. } if user == "root" => None,
///         Credentials::Password { user, .. } => Some(user.clone()),
///         Credentials::Token(_) => None,
///     }).basic("the engine room"))
///     .serve(|_shard| Echo)
/// # }
/// ```
pub struct Authentication {
    places: Vec<Place>,
    verify: Verify,
}

impl fmt::Debug for Authentication {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Authentication")
            .field("places", &self.places)
            .finish_non_exhaustive()
    }
}

/// What can say who has sent credentials: a closure, or a table of [`Secrets`].
pub trait Verifier: Send + Sync + 'static {
    /// Who it is, or `None` for somebody who is not to come in. Compare secrets with
    /// [`secrets_equal`], so that the time it takes tells nothing.
    fn verify(&self, sent: &Credentials) -> Option<String>;
}

impl<F> Verifier for F
where
    F: Fn(&Credentials) -> Option<String> + Send + Sync + 'static,
{
    fn verify(&self, sent: &Credentials) -> Option<String> {
        self(sent)
    }
}

impl Authentication {
    /// With this to say who it is. At least one place must be named, or nobody comes in.
    pub fn new(verifier: impl Verifier) -> Self {
        Self { places: Vec::new(), verify: Box::new(move |sent| verifier.verify(sent)) }
    }

    /// By name and password in `Authorization: Basic`; a browser asks its user for them, and shows
    /// the realm when it does.
    #[must_use]
    pub fn basic(self, realm: impl Into<String>) -> Self {
        self.at(Place::Basic { realm: realm.into() })
    }

    /// By a token in `Authorization: Bearer`.
    #[must_use]
    pub fn bearer(self) -> Self {
        self.at(Place::Bearer)
    }

    /// By a token in this cookie.
    #[must_use]
    pub fn cookie(self, name: impl Into<String>) -> Self {
        self.at(Place::Cookie(name.into()))
    }

    /// By a token in this parameter of the query.
    #[must_use]
    pub fn query(self, name: impl Into<String>) -> Self {
        self.at(Place::Query(name.into()))
    }

    fn at(mut self, place: Place) -> Self {
        self.places.push(place);
        self
    }

    /// The answer to who is not let in, with the ways there are (RFC 9110 section 11.6.1).
    fn refusal(&self) -> Rejection {
        let rejection = Rejection::new(Status::UNAUTHORIZED, "credentials are missing or wrong");
        self.places.iter().fold(rejection, |rejection, place| match place {
            Place::Basic { realm } => {
                let realm = realm.replace(['"', '\\'], "'");
                let challenge = format!("Basic realm=\"{realm}\", charset=\"UTF-8\"");
                rejection.with_header("WWW-Authenticate", challenge)
            }
            Place::Bearer => rejection.with_header("WWW-Authenticate", "Bearer"),
            Place::Cookie(_) | Place::Query(_) => rejection,
        })
    }
}

impl Policy for Authentication {
    fn check(&self, request: &Request<'_>, admission: &mut Admission) -> Result<(), Rejection> {
        let sent = self.places.iter().find_map(|place| place.find(request));
        let identity = sent.and_then(|sent| (self.verify)(&sent)).ok_or_else(|| self.refusal())?;
        admission.set_identity(identity);
        Ok(())
    }
}

impl Place {
    fn find(&self, request: &Request<'_>) -> Option<Credentials> {
        let token = |text: &str| Credentials::Token(text.to_owned());
        match self {
            Self::Basic { .. } => {
                let decoded = STANDARD.decode(authorization(request, "basic")?).ok()?;
                let text = String::from_utf8(decoded).ok()?;
                let (user, password) = text.split_once(':')?;
                Some(Credentials::Password { user: user.to_owned(), password: password.to_owned() })
            }
            Self::Bearer => authorization(request, "bearer").map(token),
            Self::Cookie(name) => request.cookie(name).map(token),
            Self::Query(name) => {
                request.query(name).map(|text| Credentials::Token(text.into_owned()))
            }
        }
    }
}

/// What follows the scheme in `Authorization`.
fn authorization<'h>(request: &Request<'h>, scheme: &str) -> Option<&'h str> {
    let (sent, rest) = request.header("authorization")?.split_once(' ')?;
    sent.eq_ignore_ascii_case(scheme).then(|| rest.trim())
}

/// Compares two secrets in a time that depends on their lengths alone.
#[must_use]
pub fn secrets_equal(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

/// A table of names with a secret each, which serves as password and as token.
#[derive(Clone)]
pub struct Secrets {
    entries: Vec<(String, String)>,
}

impl fmt::Debug for Secrets {
    /// Shows no secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.entries.iter().map(|(name, _)| name)).finish()
    }
}

impl Secrets {
    /// These. An empty secret matches nothing.
    pub fn new<N, S>(entries: impl IntoIterator<Item = (N, S)>) -> Self
    where
        N: Into<String>,
        S: Into<String>,
    {
        let own = |(name, secret): (N, S)| (name.into(), secret.into());
        Self { entries: entries.into_iter().map(own).collect() }
    }
}

impl Verifier for Secrets {
    /// Every entry is compared, whichever it is.
    fn verify(&self, sent: &Credentials) -> Option<String> {
        let (user, sent) = match sent {
            Credentials::Password { user, password } => (Some(user), password),
            Credentials::Token(token) => (None, token),
        };
        let mut found = None;
        for (name, secret) in &self.entries {
            let same =
                secrets_equal(secret, sent) & user.is_none_or(|user| secrets_equal(name, user));
            if same && !secret.is_empty() {
                found = Some(name.clone());
            }
        }
        found
    }
}
