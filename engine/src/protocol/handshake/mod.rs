//! The opening handshake of both roles (RFC 6455 section 4). This module does no input or output,
//! keeps no clock, serves no pages and decides nothing that is the application's to decide: which
//! paths, origins and subprotocols are welcome. It turns bytes into a checked request or answer,
//! and answers into bytes.
//!
//! A server shows what arrives to a [`HeadScanner`]; when that has found the end,
//! [`Request::parse`] reads the head and [`Request::check`] judges it as a handshake. Then
//! [`write_switching_protocols`] or a [`Rejection`] writes the response. A client writes a
//! [`ClientRequest`] and reads the answer with [`ClientResponse::parse`].

#![forbid(unsafe_code)]

mod accept_key;
mod authority;
mod client_request;
mod client_response;
mod context;
mod cookie;
mod extensions;
mod forwarded;
mod handshake_error;
mod http_rules;
mod limits;
mod query;
mod rejection;
mod request;
mod response;
mod scanner;
mod status;
mod target;
mod tokens;
mod upgrade;
mod websocket_url;

#[cfg(test)]
mod tests;

pub use accept_key::accept_value;
pub use client_request::ClientRequest;
pub use client_response::{ClientResponse, Negotiated};
pub use context::{AskAddress, RequestContext};
pub use extensions::ExtensionOffer;
#[cfg(test)]
pub(crate) use extensions::read_extensions;
pub use forwarded::ForwardedHeader;
pub use handshake_error::HandshakeError;
pub use limits::{HEADER_LINES_CAP, HandshakeLimits};
pub(crate) use query::check_path;
pub use rejection::Rejection;
pub use request::{HeaderStorage, Request};
pub use response::{write_page, write_page_with_headers, write_switching_protocols};
pub use scanner::HeadScanner;
pub use status::Status;
pub use tokens::is_valid_header;
pub use upgrade::{SUBPROTOCOLS_MAX, UpgradeFacts, choose_subprotocol};
pub(crate) use websocket_url::without_secrets;
pub use websocket_url::{UrlError, WebSocketUrl};
