//! What policies settle about a request before the handler is asked. A policy neither accepts nor
//! holds a connection: it objects, or it does not.

use std::borrow::Cow;

use crate::protocol::handshake::{Rejection, Request, is_valid_header};

/// Something that may object to a request: who may come in, from where, and with what the answer is
/// to begin. Policies are asked in the order in which they were given to the builder, on every
/// shard, for upgrades and for pages; the first objection is the answer.
///
/// A closure that takes a request is a policy as well:
///
/// ```no_run
/// # use ringsock::{Conn, Handler, Message, Server};
/// # use ringsock::http::{Rejection, Request, Status};
/// # struct Echo;
/// # impl Handler for Echo {
/// #     type State = ();
/// #     fn on_message(&mut self, _: &mut Conn<'_, ()>, _: Message<'_>) {}
/// # }
/// # fn main() -> ringsock::Result<()> {
/// Server::builder()
///     .listen("127.0.0.1:9001")?
///     .policy(|request: &Request<'_>| match request.header("user-agent") {
///         Some(_) => Ok(()),
///         None => Err(Rejection::new(Status::FORBIDDEN, "say who you are in User-Agent")),
///     })
///     .serve(|_shard| Echo)
/// # }
/// ```
pub trait Policy: Send + Sync + 'static {
    /// Objects with a rejection, or notes in `admission` what follows from the request.
    ///
    /// # Errors
    /// The answer to a request that is not admitted.
    fn check(&self, request: &Request<'_>, admission: &mut Admission) -> Result<(), Rejection>;
}

impl<F> Policy for F
where
    F: Fn(&Request<'_>) -> Result<(), Rejection> + Send + Sync + 'static,
{
    fn check(&self, request: &Request<'_>, _admission: &mut Admission) -> Result<(), Rejection> {
        self(request)
    }
}

/// What the policies have found out so far.
#[derive(Clone, Debug, Default)]
pub struct Admission {
    pub(crate) identity: Option<String>,
    pub(crate) subprotocol: Option<Cow<'static, str>>,
    pub(crate) headers: Vec<(String, String)>,
}

impl Admission {
    /// Says who the client is; the handler reads it with
    /// [`Request::identity`](crate::http::Request::identity).
    pub fn set_identity(&mut self, identity: impl Into<String>) {
        self.identity = Some(identity.into());
    }

    /// Answers with this subprotocol unless the handler chooses another. It must be one that the
    /// client offered.
    pub fn set_subprotocol(&mut self, name: impl Into<Cow<'static, str>>) {
        self.subprotocol = Some(name.into());
    }

    /// Adds a header line to whatever the answer will be, a later rejection included. Ignored when
    /// name or value could break the answer apart.
    pub fn add_header(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let (name, value) = (name.into(), value.into());
        if is_valid_header(&name, &value) {
            self.headers.push((name, value));
        }
    }
}
