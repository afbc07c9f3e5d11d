//! Header lines for every answer. It looks at no request.

use crate::handler::{Admission, BadSetting, Policy};
use crate::protocol::handshake::{Rejection, Request, is_valid_header};

/// Adds header lines to whatever is answered from here on: the switch to WebSocket, pages and the
/// rejections of what is asked later. The `Server` header is the builder's
/// [`server_name`](crate::ServerBuilder::server_name).
///
/// ```
/// # use ringsock::policy::ResponseHeaders;
/// let headers = ResponseHeaders::new([("Strict-Transport-Security", "max-age=63072000")])?;
/// # Ok::<(), ringsock::server::BadSetting>(())
/// ```
#[derive(Clone, Debug)]
pub struct ResponseHeaders {
    headers: Vec<(String, String)>,
}

impl ResponseHeaders {
    /// These, in this order.
    ///
    /// # Errors
    /// The first that would not be one header line.
    pub fn new<N, V>(headers: impl IntoIterator<Item = (N, V)>) -> Result<Self, BadSetting>
    where
        N: Into<String>,
        V: Into<String>,
    {
        let read = |(name, value): (N, V)| {
            let (name, value) = (name.into(), value.into());
            match is_valid_header(&name, &value) {
                true => Ok((name, value)),
                false => Err(BadSetting::new(format!(
                    "'{name}: {}' is no header line: give a name and a value in one line",
                    value.escape_debug()
                ))),
            }
        };
        Ok(Self { headers: headers.into_iter().map(read).collect::<Result<_, _>>()? })
    }
}

impl Policy for ResponseHeaders {
    fn check(&self, _request: &Request<'_>, admission: &mut Admission) -> Result<(), Rejection> {
        for (name, value) in &self.headers {
            admission.add_header(name, value);
        }
        Ok(())
    }
}
