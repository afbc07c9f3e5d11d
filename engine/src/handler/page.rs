//! Plain HTTP answers from memory, for whoever opens the address in a browser. No files, no
//! methods but GET and HEAD.

use std::borrow::Cow;

use crate::connection::Decision;
use crate::protocol::handshake::Status;

/// A body with its type.
#[derive(Clone, Debug)]
pub struct Page {
    content_type: Cow<'static, str>,
    body: Cow<'static, [u8]>,
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

    /// Anything else.
    #[must_use]
    pub fn new(
        content_type: impl Into<Cow<'static, str>>,
        body: impl Into<Cow<'static, [u8]>>,
    ) -> Self {
        Self { content_type: content_type.into(), body: body.into() }
    }

    pub(crate) fn decision(&self) -> Decision {
        Decision::Page {
            status: Status::OK,
            content_type: self.content_type.clone(),
            body: self.body.clone(),
        }
    }
}

fn into_bytes(text: Cow<'static, str>) -> Cow<'static, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// Pages by exact path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pages {
    entries: Vec<(String, Page)>,
}

impl Pages {
    pub(crate) fn add(&mut self, path: String, page: Page) {
        self.entries.retain(|(known, _)| *known != path);
        self.entries.push((path, page));
    }

    pub(crate) fn find(&self, path: &str) -> Option<&Page> {
        self.entries.iter().find(|(known, _)| known == path).map(|(_, page)| page)
    }
}
