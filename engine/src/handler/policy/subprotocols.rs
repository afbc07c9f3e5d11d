//! Which subprotocol is spoken (RFC 6455 section 1.9). What it means is the handler's.

use crate::handler::{Admission, BadSetting, Policy};
use crate::protocol::handshake::{Rejection, Request, Status};

/// Answers with the first of the server's subprotocols that the client offers too. A handler that
/// names one itself goes before.
///
/// ```
/// # use ringsock::policy::Subprotocols;
/// let policy = Subprotocols::new(["chat.v2", "chat.v1"])?.required();
/// # Ok::<(), ringsock::server::BadSetting>(())
/// ```
#[derive(Clone, Debug)]
pub struct Subprotocols {
    names: Vec<String>,
    required: bool,
}

impl Subprotocols {
    /// These, the favourite first. A client that offers none of them speaks without one.
    ///
    /// # Errors
    /// The first name that is no token.
    pub fn new<T: Into<String>>(names: impl IntoIterator<Item = T>) -> Result<Self, BadSetting> {
        let read = |name: T| {
            let name = name.into();
            let tokens = name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
            match tokens && !name.is_empty() {
                true => Ok(name),
                false => Err(BadSetting::new(format!(
                    "'{}' is no subprotocol: give a name without blanks, as chat.v1",
                    name.escape_debug()
                ))),
            }
        };
        Ok(Self { names: names.into_iter().map(read).collect::<Result<_, _>>()?, required: false })
    }

    /// Refuses a client that offers none of them with 400.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }
}

impl Policy for Subprotocols {
    fn check(&self, request: &Request<'_>, admission: &mut Admission) -> Result<(), Rejection> {
        if !request.is_upgrade() {
            return Ok(());
        }
        match self.names.iter().find(|name| request.offers_subprotocol(name)) {
            Some(name) => admission.set_subprotocol(name.clone()),
            None if self.required => {
                let names = self.names.join(", ");
                return Err(Rejection::new(
                    Status::BAD_REQUEST,
                    format!("offer one of these in Sec-WebSocket-Protocol: {names}"),
                ));
            }
            None => {}
        }
        Ok(())
    }
}
