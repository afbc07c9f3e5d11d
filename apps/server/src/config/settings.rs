//! Which keys there are, and for each the value that goes first and where it came from: defaults,
//! then the file, then the environment, then flags. What values mean is decided elsewhere.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use ringsock::{Deflate, Latency, Limits};

use super::groups::Group;

/// The keys beside those of the engine's groups, section by section.
const KEYS: &[(&str, Form)] = &[
    ("server.listen", Form::List),
    ("server.cores", Form::One),
    ("server.driver", Form::One),
    ("server.name", Form::One),
    ("server.handover", Form::One),
    ("admin.listen", Form::One),
    ("admin.token", Form::Secret),
    ("admin.token_file", Form::One),
    ("log.level", Form::One),
    ("log.format", Form::One),
    ("access.origins", Form::List),
    ("access.origin_required", Form::One),
    ("access.hosts", Form::List),
    ("access.secrets_file", Form::One),
    ("access.secrets_in", Form::List),
    ("access.subprotocols", Form::List),
    ("access.headers", Form::List),
    ("proxies.networks", Form::List),
    ("proxies.proxy_protocol", Form::One),
    ("proxies.header", Form::One),
    ("tls.certificate", Form::One),
    ("tls.key", Form::One),
    ("tls.client_roots", Form::One),
    ("deflate.enabled", Form::One),
];

/// What the value of a key looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// One value.
    One,
    /// Any number of values.
    List,
    /// One value that is not shown.
    Secret,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody has set it.
    Default,
    /// The file, in this line.
    File(PathBuf, usize),
    /// A variable of the environment.
    Environment(String),
    /// A flag of the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::File(path, line) => write!(formatter, "{}:{line}", path.display()),
            Self::Environment(name) => write!(formatter, "environment {name}"),
            Self::Flag(name) => write!(formatter, "flag {name}"),
        }
    }
}

/// The value of a key and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    /// One element, unless the key takes a list.
    pub(crate) values: Vec<String>,
    pub(crate) origin: Origin,
}

/// An application and its path, as the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) kind: String,
    pub(crate) path: String,
    pub(crate) line: usize,
}

/// What was set, by key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    set: BTreeMap<String, Setting>,
    pub(crate) mounts: Vec<Mount>,
    /// Variables that look like ours and are not.
    pub(crate) foreign: Vec<String>,
    pub(crate) file: Option<PathBuf>,
}

/// Every key with its form, section by section.
pub(crate) fn keys() -> impl Iterator<Item = (String, Form)> {
    let others = KEYS.iter().map(|&(key, form)| (key.to_owned(), form));
    others.chain(keys_of::<Deflate>()).chain(keys_of::<Latency>()).chain(keys_of::<Limits>())
}

fn keys_of<G: Group>() -> impl Iterator<Item = (String, Form)> {
    G::NAMES.iter().map(|name| (format!("{}.{name}", G::SECTION), Form::One))
}

/// The form of a key; an error that names the nearest one if there is none of that name.
pub(crate) fn form_of(key: &str) -> Result<Form, String> {
    if let Some((_, form)) = keys().find(|(known, _)| known == key) {
        return Ok(form);
    }
    let known = keys().map(|(known, _)| known);
    let nearest = known.min_by_key(|known| strsim::damerau_levenshtein(known, key));
    let nearest = nearest.unwrap_or_default();
    Err(format!("there is no key '{key}'; the nearest is '{nearest}'"))
}

impl Settings {
    /// Sets a key; whoever comes later goes first.
    pub(crate) fn set(
        &mut self,
        key: &str,
        values: Vec<String>,
        origin: Origin,
    ) -> Result<(), String> {
        let form = form_of(key).map_err(|reason| format!("{origin}: {reason}"))?;
        if form != Form::List && values.len() != 1 {
            return Err(format!("{origin}: {key} takes one value, not a list"));
        }
        self.set.insert(key.to_owned(), Setting { values, origin });
        Ok(())
    }

    /// What a key was set to, if it was.
    pub(crate) fn get(&self, key: &str) -> Option<&Setting> {
        self.set.get(key)
    }

    /// The value of a key that takes one, read by `read`.
    pub(crate) fn read<T>(
        &self,
        key: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        let Some(setting) = self.get(key) else { return Ok(None) };
        let text = setting.values.first().map_or("", String::as_str);
        let named = |reason| format!("{}: {key}: {reason}", setting.origin);
        read(text).map(Some).map_err(named)
    }

    /// Takes what the environment says. A variable is `RINGSOCK_SECTION__KEY`; a list is separated
    /// by spaces. Others that begin like that are not ours: Kubernetes tells of a service named
    /// `ringsock` so. `RUST_LOG`, known from other programs, stands in for `RINGSOCK_LOG__LEVEL`.
    pub(crate) fn read_environment(
        &mut self,
        variables: impl Iterator<Item = (String, String)>,
    ) -> Result<(), String> {
        let mut variables: Vec<(String, String)> = variables.collect();
        // The rule of our own name goes first: it comes later.
        variables.sort_by_key(|(name, _)| name != "RUST_LOG");
        for (name, value) in variables {
            let key = match name.strip_prefix("RINGSOCK_") {
                Some("CONFIG") => continue,
                Some(rest) if !rest.contains("__") => {
                    self.foreign.push(name);
                    continue;
                }
                Some(rest) => rest.to_ascii_lowercase().replacen("__", ".", 1),
                None if name == "RUST_LOG" => "log.level".to_owned(),
                None => continue,
            };
            let origin = Origin::Environment(name);
            let values = match form_of(&key) {
                Ok(Form::List) => value.split_whitespace().map(str::to_owned).collect(),
                _ => vec![value],
            };
            self.set(&key, values, origin)?;
        }
        Ok(())
    }

    /// The keys whose values differ, and `app` if what is mounted does.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        let values =
            |settings: &Self, key: &str| settings.get(key).map(|setting| setting.values.clone());
        let mut keys: Vec<String> = keys().map(|(key, _)| key).collect();
        keys.retain(|key| values(self, key) != values(other, key));
        let mounts = |settings: &Self| {
            let mounts = settings.mounts.iter();
            mounts.map(|mount| (mount.kind.clone(), mount.path.clone())).collect::<Vec<_>>()
        };
        if mounts(self) != mounts(other) {
            keys.push("app".to_owned());
        }
        keys
    }

    /// Takes over the values of these keys.
    pub(crate) fn take_over(&mut self, mut other: Self, keys: &[String]) {
        for key in keys {
            match other.set.remove(key) {
                Some(setting) => self.set.insert(key.clone(), setting),
                None => self.set.remove(key),
            };
        }
    }

    /// The path of the file, for messages.
    pub(crate) fn file_name(&self) -> String {
        self.file.as_deref().map_or("no file".to_owned(), |path: &Path| path.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Result<Settings, String> {
        let mut settings = Settings::default();
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        settings.read_environment(pairs)?;
        Ok(settings)
    }

    #[test]
    fn the_environment_sets_keys_of_every_form() {
        let settings = variables(&[
            ("RINGSOCK_LIMITS__PING_INTERVAL", "5s"),
            ("RINGSOCK_SERVER__LISTEN", "127.0.0.1:1 unix:/a,mode=666"),
            ("RINGSOCK_LOG__LEVEL", "debug"),
            ("RUST_LOG", "warn"),
            ("RINGSOCK_CONFIG", "x.toml"),
            ("PATH", "/bin"),
        ]);
        let settings = settings.unwrap();
        assert_eq!(settings.get("limits.ping_interval").unwrap().values, ["5s"]);
        assert_eq!(
            settings.get("server.listen").unwrap().values,
            ["127.0.0.1:1", "unix:/a,mode=666"]
        );
        assert_eq!(settings.get("log.level").unwrap().values, ["debug"]);
        let origin = &settings.get("log.level").unwrap().origin;
        assert_eq!(origin.to_string(), "environment RINGSOCK_LOG__LEVEL");
    }

    #[test]
    fn variables_of_others_are_kept_apart() {
        // What Kubernetes adds for a Service of that name.
        let foreign = ["RINGSOCK_PORT_9001_TCP", "RINGSOCK_SERVICE_HOST", "RINGSOCK_PORT"];
        let settings = variables(&foreign.map(|name| (name, "10.0.0.1"))).unwrap();
        assert_eq!(settings.foreign, foreign);
        assert_eq!(settings.differences(&Settings::default()), [""; 0]);
    }

    #[test]
    fn an_unknown_variable_is_named_with_the_nearest_key() {
        let error = variables(&[("RINGSOCK_LIMITS__PING_INTERVALL", "5s")]).unwrap_err();
        assert!(error.contains("RINGSOCK_LIMITS__PING_INTERVALL"), "{error}");
        assert!(error.contains("'limits.ping_interval'"), "{error}");
    }

    #[test]
    fn differences_are_those_of_values_and_not_of_origins() {
        let flag = Origin::Flag("--x".to_owned());
        let (mut one, mut other) = (Settings::default(), Settings::default());
        one.set("log.level", vec!["info".into()], Origin::Default).unwrap();
        other.set("log.level", vec!["info".into()], flag.clone()).unwrap();
        assert_eq!(one.differences(&other), [""; 0]);
        other.set("server.cores", vec!["0".into()], flag).unwrap();
        other.mounts.push(Mount { kind: "echo".into(), path: "/".into(), line: 1 });
        assert_eq!(one.differences(&other), ["server.cores", "app"]);
    }
}
