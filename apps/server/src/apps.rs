//! Which applications there are and how they are mounted. What they do is in their own crates.

use std::fmt::Write;

use ringsock::http::Page;
use ringsock::{Limits, Running, ServerBuilder};

use crate::config::Mount;

/// The applications by their names in `[[app]]`.
const KINDS: [&str; 1] = ["echo"];

/// What is to be served.
#[derive(Clone, Debug)]
pub(crate) enum Apps {
    /// Echo at every path.
    Echo,
    /// What the file says, with a page that lists it.
    Mounted(Vec<Mount>),
}

impl Apps {
    /// What the file mounts.
    pub(crate) fn mounted(mounts: Vec<Mount>, file: &str) -> Result<Self, String> {
        if mounts.is_empty() {
            return Err(format!(
                "{file}: nothing is mounted: add an [[app]] with kind and path, or use 'ringsock echo'"
            ));
        }
        for Mount { kind, line, .. } in &mounts {
            if !KINDS.contains(&kind.as_str()) {
                let known = KINDS.join(", ");
                return Err(format!(
                    "{file}:{line}: there is no application '{kind}'; there are: {known}"
                ));
            }
        }
        Ok(Self::Mounted(mounts))
    }

    /// The limits they work best with.
    pub(crate) fn limits(&self) -> Limits {
        match self {
            Self::Echo => ringsock_echo::limits(),
            Self::Mounted(_) => Limits::default(),
        }
    }

    /// Whether somebody runs them for others, and not just echo to see or to measure something.
    pub(crate) fn are_deployed(&self) -> bool {
        matches!(self, Self::Mounted(_))
    }

    /// Puts them at their paths.
    pub(crate) fn mount(&self, mut server: ServerBuilder) -> ServerBuilder {
        let Self::Mounted(mounts) = self else {
            return server.page("/", ringsock_echo::page());
        };
        if !mounts.iter().any(|mount| mount.path == "/") {
            server = server.page("/", Page::html(landing_page(mounts)));
        }
        for mount in mounts {
            server = server.route(&mount.path, |_shard| ringsock_echo::Echo);
            if !mount.path.contains('{') {
                server = server.page(mount.path.clone(), ringsock_echo::page());
            }
        }
        server
    }

    /// Starts a server in which they are mounted.
    pub(crate) fn start(&self, server: ServerBuilder) -> ringsock::Result<Running> {
        match self {
            Self::Echo => server.start(|_shard| ringsock_echo::Echo),
            Self::Mounted(_) => server.start_routes(),
        }
    }
}

/// What a browser gets at `/`.
fn landing_page(mounts: &[Mount]) -> String {
    let mut list = String::new();
    for Mount { kind, path, .. } in mounts {
        let path = escape(path);
        let name = match path.contains('{') {
            true => path,
            false => format!("<a href=\"{path}\">{path}</a>"),
        };
        // Writing to a string does not fail.
        let _ = writeln!(list, "<li>{name}: {}</li>", escape(kind));
    }
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>ringsock</title>\n\
         <h1>ringsock</h1>\n<p>WebSocket applications of this server:</p>\n<ul>\n{list}</ul>\n</html>\n"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(kind: &str, path: &str) -> Mount {
        Mount { kind: kind.to_owned(), path: path.to_owned(), line: 3 }
    }

    #[test]
    fn the_landing_page_lists_what_is_mounted_and_nothing_else() {
        let page = landing_page(&[mount("echo", "/a\"<b>"), mount("echo", "/r/{x}")]);
        assert!(page.contains("<a href=\"/a&quot;&lt;b&gt;\">"), "{page}");
        assert!(page.contains("<li>/r/{x}: echo</li>"), "{page}");
    }

    #[test]
    fn an_application_that_is_none_is_named_with_those_there_are() {
        let error = Apps::mounted(vec![mount("eko", "/")], "r.toml").unwrap_err();
        assert!(error.contains("r.toml:3") && error.contains("'eko'") && error.contains("echo"));
        assert!(Apps::mounted(Vec::new(), "r.toml").unwrap_err().contains("[[app]]"));
    }
}
