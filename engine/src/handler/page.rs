//! Plain HTTP answers from memory, for whoever opens the address in a browser. No files are read
//! while it serves, no ranges, no compression, no methods but GET and HEAD.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write;

use bytes::Bytes;
use sha1::{Digest, Sha1};

use crate::connection::Decision;
use crate::protocol::handshake::{Request, Status};

/// Content types by the end of a file's name; anything else is `application/octet-stream`.
const CONTENT_TYPES: &[(&str, &str)] = &[
    ("css", "text/css; charset=utf-8"),
    ("gif", "image/gif"),
    ("html", "text/html; charset=utf-8"),
    ("ico", "image/x-icon"),
    ("jpg", "image/jpeg"),
    ("js", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("txt", "text/plain; charset=utf-8"),
    ("wasm", "application/wasm"),
    ("webp", "image/webp"),
    ("woff2", "font/woff2"),
    ("xml", "application/xml"),
];

/// A body with its type and an entity tag (RFC 9110 section 8.8.3), so that a browser that has it
/// already is answered 304.
///
/// ```no_run
/// # use ringsock::{Conn, Handler, Message, Server};
/// # use ringsock::http::Page;
/// # struct Echo;
/// # impl Handler for Echo {
/// #     type State = ();
/// #     fn on_message(&mut self, _: &mut Conn<'_, ()>, _: Message<'_>) {}
/// # }
/// # fn main() -> ringsock::Result<()> {
/// Server::builder()
///     .listen("127.0.0.1:9001")?
///     .page("/", Page::html("<script src=app.js></script>"))
///     .page("/app.js", Page::file("app.js", "new WebSocket(`ws://${location.host}/`)"))
///     .health("/healthz")
///     .serve(|_shard| Echo)
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Page {
    content_type: Cow<'static, str>,
    body: Bytes,
    etag: String,
    headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
}

impl Page {
    /// An HTML page.
    #[must_use]
    pub fn html(body: impl Into<Cow<'static, str>>) -> Self {
        Self::new("text/html; charset=utf-8", into_bytes(body.into()))
    }

    /// Plain text.
    #[must_use]
    pub fn text(body: impl Into<Cow<'static, str>>) -> Self {
        Self::new("text/plain; charset=utf-8", into_bytes(body.into()))
    }

    /// What is in a file, with the content type that goes with the file's name.
    #[must_use]
    pub fn file(name: &str, body: impl AsRef<[u8]>) -> Self {
        let (_, extension) = name.rsplit_once('.').unwrap_or_default();
        let known = CONTENT_TYPES.iter().find(|(known, _)| known.eq_ignore_ascii_case(extension));
        let content_type =
            known.map_or("application/octet-stream", |(_, content_type)| content_type);
        Self::new(content_type, body.as_ref().to_vec())
    }

    /// Anything else.
    #[must_use]
    pub fn new(
        content_type: impl Into<Cow<'static, str>>,
        body: impl Into<Cow<'static, [u8]>>,
    ) -> Self {
        let body = match body.into() {
            Cow::Borrowed(body) => Bytes::from_static(body),
            Cow::Owned(body) => Bytes::from(body),
        };
        let etag = etag(&body);
        Self { content_type: content_type.into(), body, etag, headers: Vec::new() }
    }

    /// Adds a header line to the answer, as `Cache-Control`. Left out when name or value could
    /// break the answer apart.
    #[must_use]
    pub fn header(
        mut self,
        name: impl Into<Cow<'static, str>>,
        value: impl Into<Cow<'static, str>>,
    ) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// What says that the server is up: `ok`, never to be cached.
    pub(crate) fn healthy() -> Self {
        Self::text("ok\n").header("Cache-Control", "no-store")
    }

    /// The answer to a request for it: 304 when the client has it already (RFC 9110 section
    /// 13.1.2).
    pub(crate) fn decision(&self, request: &Request<'_>) -> Decision {
        let known = request.header("if-none-match").is_some_and(|tags| self.is_among(tags));
        let mut headers = self.headers.clone();
        headers.push(("ETag".into(), self.etag.clone().into()));
        Decision::Page {
            status: if known { Status::NOT_MODIFIED } else { Status::OK },
            content_type: self.content_type.clone(),
            body: self.body.clone(),
            headers,
        }
    }

    /// Tags are compared weakly, as section 13.1.2 wants it.
    fn is_among(&self, tags: &str) -> bool {
        let bare = |tag: &str| tag.trim().trim_start_matches("W/") == self.etag;
        tags.trim() == "*" || tags.split(',').any(bare)
    }
}

fn into_bytes(text: Cow<'static, str>) -> Cow<'static, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// Half a SHA-1 of the body: chance alone makes no two bodies alike, and nobody but the operator
/// chooses them.
fn etag(body: &[u8]) -> String {
    let mut tag = String::from("\"");
    for byte in &Sha1::digest(body)[..10] {
        // Writing to a string does not fail.
        let _ = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    tag
}

/// Pages by exact path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pages {
    entries: HashMap<String, Page>,
}

impl Pages {
    pub(crate) fn add(&mut self, path: String, page: Page) {
        self.entries.insert(path, page);
    }

    pub(crate) fn find(&self, path: &str) -> Option<&Page> {
        self.entries.get(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_follows_from_the_name() {
        for (name, expected) in [
            ("index.html", "text/html; charset=utf-8"),
            ("a.b/APP.JS", "text/javascript; charset=utf-8"),
            ("logo.svg", "image/svg+xml"),
            ("noextension", "application/octet-stream"),
            ("strange.xyz", "application/octet-stream"),
        ] {
            assert_eq!(Page::file(name, "x").content_type, expected, "{name}");
        }
    }

    #[test]
    fn a_tag_is_that_of_the_body_and_found_in_lists() {
        let page = Page::text("one");
        assert_eq!(page.etag, Page::html("one").etag);
        assert_ne!(page.etag, Page::text("two").etag);
        let tag = page.etag.clone();
        for good in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag} ,\"y\""), "*".into()] {
            assert!(page.is_among(&good), "{good}");
        }
        for bad in ["", "\"\"", tag.trim_matches('"'), "**"] {
            assert!(!page.is_among(bad), "{bad}");
        }
    }
}
