//! Policies that most servers want. None of them keeps a state of its own, and none is asked unless it
//! was given to the builder.

mod authentication;
mod hosts;
mod origins;
mod paths;
mod response_headers;
mod subprotocols;

pub use authentication::{Authentication, Credentials, Secrets, Verifier, secrets_equal};
pub use hosts::AllowedHosts;
pub use origins::AllowedOrigins;
pub use paths::Paths;
pub(super) use paths::insert;
pub use response_headers::ResponseHeaders;
pub use subprotocols::Subprotocols;

#[cfg(test)]
mod tests;
