//! A handler's answer to an upgrade request.

use std::any::Any;
use std::borrow::Cow;

use crate::connection::Decision;
use crate::protocol::handshake::{Rejection, Status, is_valid_header};

/// Accept with a state, or reject with a status.
#[derive(Debug)]
#[must_use]
pub struct Upgrade<S> {
    answer: Answer<S>,
}

#[derive(Debug)]
enum Answer<S> {
    Accept { state: S, subprotocol: Option<Cow<'static, str>>, headers: Vec<(String, String)> },
    Reject(Rejection),
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

    /// Answers with this subprotocol. The caller chooses one that the client offered; another one
    /// would make the client fail the connection (RFC 6455 section 4.1).
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

    /// The connection's share of the answer, and the state if it was accepted.
    pub(crate) fn into_parts(self) -> (Decision, Option<S>) {
        match self.answer {
            Answer::Accept { state, subprotocol, headers } => {
                (Decision::Accept { subprotocol, headers }, Some(state))
            }
            Answer::Reject(rejection) => (Decision::Reject(rejection), None),
        }
    }
}
