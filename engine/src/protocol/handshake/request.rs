//! One parsed request head. This module does not find the head's end and does not judge an
//! upgrade; a [`Request`] exists only when it is sound HTTP (see `Request::parse`). It borrows
//! everything, and only a path with escapes is copied.

use std::borrow::Cow;
use std::mem::MaybeUninit;
use std::net::SocketAddr;

use super::context::RequestContext;
use super::cookie;
use super::extensions::{self, ExtensionOffer};
use super::http_rules;
use super::limits::{HEADER_LINES_CAP, HandshakeLimits};
use super::query;
use super::rejection::Rejection;
use super::scanner::{HeadScanner, too_many_header_lines};
use super::target::Target;
use super::tokens::{is_token, list_elements};

/// Room for the header lines of one request: 3 KiB on the stack, never initialised as a whole,
/// which would cost more than parsing does.
pub struct HeaderStorage<'h> {
    slots: [MaybeUninit<httparse::Header<'h>>; HEADER_LINES_CAP],
    /// The path, if it was sent with escapes.
    path: String,
}

impl HeaderStorage<'_> {
    /// Empty room.
    pub const fn new() -> Self {
        Self { slots: [const { MaybeUninit::uninit() }; HEADER_LINES_CAP], path: String::new() }
    }
}

impl Default for HeaderStorage<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// A request head that is sound HTTP/1.x, borrowed from the bytes it came in.
#[derive(Clone, Copy, Debug)]
pub struct Request<'h> {
    method: &'h str,
    target_text: &'h str,
    target: Target<'h>,
    version_minor: u8,
    has_body: bool,
    headers: &'h [httparse::Header<'h>],
    context: RequestContext<'h>,
}

impl<'h> Request<'h> {
    /// Parses a whole head: exactly the bytes up to the end that [`HeadScanner`] found.
    ///
    /// # Errors
    ///
    /// The rejection to answer with, for whatever breaks RFC 9110 or 9112: syntax and bounds (as
    /// the scanner has them), the version (505), the target, `Host` (none, two, or not a host),
    /// and the framing headers `Content-Length` and `Transfer-Encoding`.
    pub fn parse(
        head: &'h [u8],
        storage: &'h mut HeaderStorage<'h>,
        limits: &HandshakeLimits,
    ) -> Result<Self, Rejection> {
        // The parser below forgives bare line feeds and more; scanned heads pass this again at
        // little cost, and nobody can make a lenient request by leaving the scanner out.
        if HeadScanner::new().scan(head, limits)? != Some(head.len()) {
            return Err(Rejection::bad_request("the head does not end where its bytes do"));
        }
        let head = head.strip_prefix(b"\r\n").unwrap_or(head);
        http_rules::check_version(head)?;
        let lines_max = limits.header_lines_max.min(HEADER_LINES_CAP);
        let mut parsed = httparse::Request::new(&mut []);
        parsed.parse_with_uninit_headers(head, &mut storage.slots[..lines_max]).map_err(
            |error| match error {
                httparse::Error::TooManyHeaders => too_many_header_lines(lines_max),
                _ => Rejection::bad_request("the head is not HTTP/1.1"),
            },
        )?;
        let (Some(method), Some(target_text), Some(version_minor)) =
            (parsed.method, parsed.path, parsed.version)
        else {
            return Err(Rejection::bad_request("the head is not whole"));
        };
        let headers: &'h [httparse::Header<'h>] = parsed.headers;
        let target = Target::parse(method, target_text, &mut storage.path)?;
        Self::from_parts(method, target_text, target, version_minor, headers)
    }

    fn from_parts(
        method: &'h str,
        target_text: &'h str,
        target: Target<'h>,
        version_minor: u8,
        headers: &'h [httparse::Header<'h>],
    ) -> Result<Self, Rejection> {
        let context = RequestContext::default();
        let mut request =
            Self { method, target_text, target, version_minor, has_body: false, headers, context };
        http_rules::check_host(&request)?;
        request.has_body = http_rules::check_framing(&request)?;
        Ok(request)
    }

    /// The method, as sent: `GET`.
    pub fn method(&self) -> &'h str {
        self.method
    }

    /// The target of the request line, as sent.
    pub fn target(&self) -> &'h str {
        self.target_text
    }

    /// The path, decoded: it starts with `/` and has no `.` or `..` segment and no two slashes in a
    /// row. Whatever is compared with paths (pages, routes, policies) is compared with this.
    pub fn path(&self) -> &'h str {
        self.target.path
    }

    /// What follows the `?` of the target, still encoded.
    pub fn query_string(&self) -> Option<&'h str> {
        self.target.query_string
    }

    /// The first value of a query parameter, decoded (`%XX`, and `+` as a space). `None` if there
    /// is none, or if it is not UTF-8.
    pub fn query(&self, name: &str) -> Option<Cow<'h, str>> {
        query::find(self.target.query_string?, name)
    }

    /// What stands in the path where its route has `{name}`, decoded. `None` if the route has no
    /// such parameter.
    ///
    /// ```no_run
    /// # use ringsock::http::Request;
    /// // Mounted with .route("/chat/{room}", …); for /chat/caf%C3%A9 this is "café".
    /// fn room(request: &Request<'_>) -> String {
    ///     request.param("room").unwrap_or_default().to_owned()
    /// }
    /// ```
    pub fn param(&self, name: &str) -> Option<&'h str> {
        let (_, value) = self.context.params.iter().find(|(known, _)| *known == name)?;
        Some(value)
    }

    /// The first cookie of this name (RFC 6265 section 5.4), as sent, without quotes around it.
    pub fn cookie(&self, name: &str) -> Option<&'h str> {
        values(self.headers, "cookie").find_map(|line| cookie::find(line, name))
    }

    /// The client's address: the one that a trusted proxy vouches for, otherwise the socket's own.
    /// `None` on a Unix socket without such a proxy.
    pub fn peer_address(&self) -> Option<SocketAddr> {
        self.context.peer_address.and_then(|ask| ask())
    }

    /// Who the client is, if a policy has found that out.
    pub fn identity(&self) -> Option<&'h str> {
        self.context.identity
    }

    /// What the server knows of it beside its bytes.
    pub fn context(&self) -> &RequestContext<'h> {
        &self.context
    }

    /// The same request with this beside it.
    #[must_use]
    pub fn with_context<'c>(&self, context: RequestContext<'c>) -> Request<'c>
    where
        'h: 'c,
    {
        Request { context, ..*self }
    }

    /// The value of the first header of this name, in any case. `None` if there is none, or if it
    /// is not UTF-8.
    pub fn header(&self, name: &str) -> Option<&'h str> {
        values(self.headers, name).next().and_then(|value| std::str::from_utf8(value).ok())
    }

    /// All header lines in the order sent: name as sent, value without blanks at its ends.
    pub fn headers(&self) -> impl Iterator<Item = (&'h str, &'h [u8])> + use<'h> {
        self.headers.iter().map(|header| (header.name, header.value))
    }

    /// The host (and port, if one was sent) that the client meant to reach. An absolute target
    /// goes before the `Host` header (RFC 9112 section 3.2.2). `None` only for HTTP/1.0.
    pub fn host(&self) -> Option<&'h str> {
        self.target.authority.or_else(|| self.header("host"))
    }

    /// The `Origin` that a browser vouches for (RFC 6455 section 10.2); `null` included.
    pub fn origin(&self) -> Option<&'h str> {
        self.header("origin")
    }

    /// The subprotocols offered, the client's favourite first.
    pub fn subprotocols(&self) -> impl Iterator<Item = &'h str> + use<'h> {
        values(self.headers, "sec-websocket-protocol")
            .flat_map(list_elements)
            .filter(|element| is_token(element))
            .filter_map(|element| std::str::from_utf8(element).ok())
    }

    /// The extensions offered, the client's favourite first (RFC 6455 section 9.1).
    pub fn extensions(&self) -> impl Iterator<Item = ExtensionOffer<'h>> + use<'h> {
        values(self.headers, "sec-websocket-extensions")
            .filter_map(|line| std::str::from_utf8(line).ok())
            .flat_map(extensions::offers)
            .filter_map(Result::ok)
    }

    /// Whether the request asks for another protocol, or bears the key of a WebSocket: then it is
    /// to be checked as a handshake, and not answered with a page.
    pub fn is_upgrade(&self) -> bool {
        self.headers.iter().any(|header| {
            header.name.eq_ignore_ascii_case("upgrade")
                || header.name.eq_ignore_ascii_case("sec-websocket-key")
        })
    }

    /// Whether a body follows the head (or is announced to).
    pub fn has_body(&self) -> bool {
        self.has_body
    }

    /// The minor HTTP version: 0 or 1.
    pub(super) fn version_minor(&self) -> u8 {
        self.version_minor
    }

    /// The values of all headers of this name.
    pub(super) fn values(&self, name: &'static str) -> impl Iterator<Item = &'h [u8]> + use<'h> {
        values(self.headers, name)
    }
}

fn values<'h, 'n>(
    headers: &'h [httparse::Header<'h>],
    name: &'n str,
) -> impl Iterator<Item = &'h [u8]> + use<'h, 'n> {
    headers
        .iter()
        .filter(move |header| header.name.eq_ignore_ascii_case(name))
        .map(|header| header.value)
}
