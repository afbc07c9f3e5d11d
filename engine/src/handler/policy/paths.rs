//! Which paths something is for. It looks at nothing else of a request, and it is no policy itself.

use matchit::Router;

use crate::handler::BadSetting;
use crate::protocol::handshake::check_path;

/// Paths by their patterns, which look like those of routes: `/fixed`, `/a/{parameter}`,
/// `/a/{*rest}`. Nothing is to slip past a guard, so each pattern is for a path with and without a
/// slash at its end, and `/a/{*rest}` for `/a` as well.
///
/// ```
/// # use ringsock::policy::Paths;
/// let paths = Paths::new(["/staff/{*rest}", "/rooms/{room}/log"])?;
/// assert!(paths.include("/staff") && paths.include("/staff/a/b"));
/// assert!(paths.include("/rooms/lobby/log/") && !paths.include("/rooms/lobby"));
/// # Ok::<(), ringsock::server::BadSetting>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Paths {
    /// Without a slash at the end.
    patterns: Router<()>,
}

impl Paths {
    /// These.
    ///
    /// # Errors
    /// The first that is none, or says what another one says.
    pub fn new<T: AsRef<str>>(patterns: impl IntoIterator<Item = T>) -> Result<Self, BadSetting> {
        let mut paths = Self::default();
        for pattern in patterns {
            paths.add(pattern.as_ref()).map_err(BadSetting::new)?;
        }
        Ok(paths)
    }

    fn add(&mut self, pattern: &str) -> Result<(), String> {
        let bare = without_slash(pattern);
        insert(&mut self.patterns, bare, ())?;
        if let Some((above, _)) = bare.rsplit_once("/{*") {
            // What another pattern has said already holds all the same.
            let _ = self.patterns.insert(if above.is_empty() { "/" } else { above }, ());
        }
        Ok(())
    }

    /// Whether a request for this path is meant; see [`Request::path`](crate::http::Request::path).
    #[must_use]
    pub fn include(&self, path: &str) -> bool {
        self.patterns.at(without_slash(path)).is_ok()
    }
}

/// The path without the slash at its end, unless that is all.
fn without_slash(path: &str) -> &str {
    match path.strip_suffix('/') {
        None | Some("") => path,
        Some(bare) => bare,
    }
}

/// Adds a pattern of a path.
pub(in crate::handler) fn insert<T>(
    patterns: &mut Router<T>,
    pattern: &str,
    value: T,
) -> Result<(), String> {
    check_path(pattern).map_err(|reason| format!("the path '{pattern}' {reason}"))?;
    patterns.insert(pattern, value).map_err(|error| format!("the path '{pattern}': {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_slips_past_a_pattern() {
        for (pattern, inside, outside) in [
            ("/a", &["/a", "/a/"][..], &["/", "/ab", "/a/b", "/A"][..]),
            ("/a/", &["/a", "/a/"], &["/a/b"]),
            ("/", &["/"], &["/a"]),
            ("/{*all}", &["/", "/a", "/a/", "/a/b/"], &[]),
            ("/a/{*rest}", &["/a", "/a/", "/a/b", "/a/b/", "/a/b/c"], &["/", "/ab"]),
            ("/a/{b}", &["/a/b", "/a/b/"], &["/a", "/a/", "/a/b/c"]),
            ("/a/{b}/c", &["/a/x/c", "/a/x/c/"], &["/a/x"]),
            ("/h\u{f6}hle", &["/h\u{f6}hle"], &["/h%C3%B6hle"]),
        ] {
            let paths = Paths::new([pattern]).unwrap();
            assert!(inside.iter().all(|path| paths.include(path)), "{pattern}");
            assert!(!outside.iter().any(|path| paths.include(path)), "{pattern}");
        }
    }

    #[test]
    fn several_patterns_stand_side_by_side_and_what_is_none_is_named() {
        let paths = Paths::new(["/a", "/a/{*rest}", "/b"]).unwrap();
        assert!(["/a", "/a/x", "/b"].iter().all(|path| paths.include(path)));
        assert!(!Paths::default().include("/"));
        for (patterns, named) in [
            (["/a", "b"], "'b' does not begin with /"),
            (["/a", "/b%20"], "'/b%20' has an escape"),
            (["/a", "/b?x"], "a ? or a #"),
            (["/a", "/b//c"], "two slashes"),
            (["/a", "/a/"], "'/a'"),
            (["/a", "/{"], "'/{'"),
        ] {
            let error = Paths::new(patterns).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
