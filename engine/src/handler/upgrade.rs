//! A handler's answer to an upgrade request. It is carried out elsewhere.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;

use crate::connection::Decision;
use crate::protocol::handshake::{Rejection, Status, is_valid_header};

/// A future that decides.
pub(crate) type UpgradeFuture<S> = Pin<Box<dyn Future<Output = Upgrade<S>>>>;

/// Accept with a state, reject with a status, or say it later.
#[must_use]
pub struct Upgrade<S> {
    answer: Answer<S>,
}

enum Answer<S> {
    Accept { state: S, subprotocol: Option<Cow<'static, str>>, headers: Vec<(String, String)> },
    Reject(Rejection),
    Later(UpgradeFuture<S>),
}

impl<S> fmt::Debug for Upgrade<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.answer {
            Answer::Accept { subprotocol, headers, .. } => formatter
                .debug_struct("Accept")
                .field("subprotocol", subprotocol)
                .field("headers", headers)
                .finish_non_exhaustive(),
            Answer::Reject(rejection) => formatter.debug_tuple("Reject").field(rejection).finish(),
            Answer::Later(_) => formatter.write_str("Later"),
        }
    }
}

impl<S: 'static> Upgrade<S> {
    /// Accepts; the connection begins with this state.
    pub fn accept(state: S) -> Self {
        Self { answer: Answer::Accept { state, subprotocol: None, headers: Vec::new() } }
    }

    /// Refuses with this status and a line of text for whoever reads the answer.
    pub fn reject(status: Status, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { answer: Answer::Reject(Rejection::new(status, detail)) }
    }

    /// Decides when this future does, for a decision that must ask a database or another server. It
    /// runs on the shard's own runtime, so it needs no `Send`, and is dropped when the connection
    /// goes. Meanwhile the connection holds its request head and at most
    /// [`Limits::early_bytes_max`](crate::Limits) of what the client sends already, which is
    /// handled once the handshake is complete. [`Limits::handshake_timeout`](crate::Limits) holds
    /// all the same: a future that is not ready by then is dropped, and the client is answered 503.
    /// A panic of the future is answered with 500.
    ///
    /// ```no_run
    /// use ringsock::{Conn, Handler, Message, Upgrade};
    /// use ringsock::http::{Request, Status};
    /// # async fn look_up(token: String) -> Option<String> { Some(token) }
    ///
    /// struct Members;
    ///
    /// impl Handler for Members {
    ///     type State = String;
    ///
    ///     fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<String> {
    ///         let token = request.query("token").unwrap_or_default().into_owned();
    ///         Upgrade::later(async move {
    ///             match look_up(token).await {
    ///                 Some(name) => Upgrade::accept(name),
    ///                 None => Upgrade::reject(Status::UNAUTHORIZED, "this token is not valid"),
    ///             }
    ///         })
    ///     }
    ///
    ///     fn on_message(&mut self, conn: &mut Conn<'_, String>, message: Message<'_>) {
    ///         conn.send(message);
    ///     }
    /// }
    /// ```
    pub fn later(future: impl Future<Output = Self> + 'static) -> Self {
        Self { answer: Answer::Later(Box::pin(future)) }
    }

    /// Refuses with header lines beside status and text.
    pub fn refuse(rejection: Rejection) -> Self {
        Self { answer: Answer::Reject(rejection) }
    }

    pub(super) fn accept_stateless() -> Self {
        const {
            assert!(
                size_of::<S>() == 0,
                "a Handler whose State is not () must implement on_upgrade: it alone can make one"
            );
        }
        let unit: Box<dyn Any> = Box::new(());
        match unit.downcast::<S>() {
            Ok(state) => Self::accept(*state),
            Err(_) => Self::reject(
                Status::INTERNAL_SERVER_ERROR,
                "the handler has a state but no on_upgrade that makes one",
            ),
        }
    }

    /// Answers with this subprotocol if the client offered it. If not, none is answered (RFC 6455
    /// section 4.2.2 allows no other), and the client decides whether it goes on without.
    pub fn subprotocol(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        if let Answer::Accept { subprotocol, .. } = &mut self.answer {
            *subprotocol = Some(name.into());
        }
        self
    }

    /// Adds a header to the 101. Ignored when name or value could break the response apart.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), value.into());
        if let Answer::Accept { headers, .. } = &mut self.answer
            && is_valid_header(&name, &value)
        {
            headers.push((name, value));
        }
        self
    }

    /// The same answer with the state made into another.
    pub(crate) fn map<T: 'static>(self, make: impl FnOnce(S) -> T + 'static) -> Upgrade<T> {
        let answer = match self.answer {
            Answer::Accept { state, subprotocol, headers } => {
                Answer::Accept { state: make(state), subprotocol, headers }
            }
            Answer::Reject(rejection) => Answer::Reject(rejection),
            Answer::Later(future) => Answer::Later(Box::pin(async move { future.await.map(make) })),
        };
        Upgrade { answer }
    }

    /// The future that decides, or the decision.
    pub(crate) fn into_future(self) -> Result<UpgradeFuture<S>, Self> {
        match self.answer {
            Answer::Later(future) => Ok(future),
            answer => Err(Self { answer }),
        }
    }

    /// The connection's share of the answer, and the state if it was accepted.
    pub(crate) fn into_parts(self) -> (Decision, Option<S>) {
        match self.answer {
            Answer::Accept { state, subprotocol, headers } => {
                (Decision::Accept { subprotocol, headers }, Some(state))
            }
            Answer::Reject(rejection) => (Decision::Reject(rejection), None),
            Answer::Later(_) => (Decision::Later, None),
        }
    }
}
