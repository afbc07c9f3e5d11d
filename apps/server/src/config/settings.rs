//! Which keys and tables there are, and for each key the value that goes first and where it came
//! from: defaults, then the file, then the environment, then flags. What values mean is decided
//! elsewhere.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use ringsock::server::Latency;
use ringsock::{Deflate, Limits};

use super::groups::Group;
use super::one_line;

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
    ("tls.minimum_version", Form::One),
    ("deflate.enabled", Form::One),
];

/// The tables that the file may have any number of, as `[[app]]`.
const TABLES: &[TableForm] = &[
    TableForm {
        name: "app",
        keys: &[("kind", Form::One), ("path", Form::One)],
        required: &["kind", "path"],
    },
    TableForm {
        name: "access.at",
        keys: &[
            ("paths", Form::List),
            ("origins", Form::List),
            ("origin_required", Form::One),
            ("hosts", Form::List),
            ("secrets_file", Form::One),
            ("secrets_in", Form::List),
            ("subprotocols", Form::List),
            ("headers", Form::List),
        ],
        required: &["paths"],
    },
    TableForm {
        name: "tls.name",
        keys: &[("name", Form::One), ("certificate", Form::One), ("key", Form::One)],
        required: &["name", "certificate", "key"],
    },
];

/// What a table may say, and what it must.
pub(super) struct TableForm {
    /// What stands in its brackets.
    pub(super) name: &'static str,
    pub(super) keys: &'static [(&'static str, Form)],
    pub(super) required: &'static [&'static str],
}

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
            Self::File(path, line) => write!(formatter, "{}:{line}", shown(path)),
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

/// Values by key: those of a section, or of one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Values {
    /// What goes before the keys in messages.
    section: String,
    set: BTreeMap<String, Setting>,
}

impl Values {
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
        read(text).map(Some).map_err(|reason| self.wrong(key, &reason))
    }

    /// The text of an error about a key.
    pub(crate) fn wrong(&self, key: &str, reason: &str) -> String {
        let named = format!("{}{key}: {reason}", self.section);
        self.get(key).map_or(named.clone(), |setting| format!("{}: {named}", setting.origin))
    }

    fn differ(&self, other: &Self) -> bool {
        let values =
            |all: &Self| all.set.iter().map(|(k, v)| (k.clone(), v.values.clone())).collect();
        let (own, others): (Vec<_>, Vec<_>) = (values(self), values(other));
        own != others
    }
}

/// One of the tables of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    /// Where it begins.
    pub(crate) line: usize,
    pub(crate) values: Values,
}

impl Table {
    pub(super) fn new(form: &TableForm, line: usize) -> Self {
        let section = format!("{}.", form.name);
        Self { line, values: Values { section, set: BTreeMap::new() } }
    }

    pub(super) fn set(&mut self, key: &str, setting: Setting) {
        self.values.set.insert(key.to_owned(), setting);
    }

    /// The one value of a key that must be there.
    pub(crate) fn text(&self, key: &str) -> &str {
        let value = self.values.get(key).and_then(|setting| setting.values.first());
        value.map_or("", String::as_str)
    }
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
    values: Values,
    tables: BTreeMap<&'static str, Vec<Table>>,
    /// Variables that look like ours and are not.
    pub(crate) foreign: Vec<String>,
    pub(crate) file: Option<PathBuf>,
}

/// Every key with its form, section by section.
pub(crate) fn keys() -> impl Iterator<Item = (String, Form)> {
    let others = KEYS.iter().map(|&(key, form)| (key.to_owned(), form));
    others.chain(keys_of::<Deflate>()).chain(keys_of::<Latency>()).chain(keys_of::<Limits>())
}

/// What a table of this name is like, if there may be any.
pub(super) fn table_form(name: &str) -> Option<&'static TableForm> {
    TABLES.iter().find(|form| form.name == name)
}

/// The names of tables, in the order in which they are shown.
pub(super) fn table_names() -> impl Iterator<Item = &'static str> {
    TABLES.iter().map(|form| form.name)
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
        self.values.set.insert(key.to_owned(), Setting { values, origin });
        Ok(())
    }

    /// What a key was set to, if it was.
    pub(crate) fn get(&self, key: &str) -> Option<&Setting> {
        self.values.get(key)
    }

    /// The value of a key that takes one, read by `read`.
    pub(crate) fn read<T>(
        &self,
        key: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        self.values.read(key, read)
    }

    /// The keys of a section, without its name.
    pub(crate) fn section(&self, name: &str) -> Values {
        let section = format!("{name}.");
        let own = self.values.set.iter();
        let own = own.filter_map(|(key, setting)| Some((key.strip_prefix(&section)?, setting)));
        let set = own.map(|(key, setting)| (key.to_owned(), setting.clone())).collect();
        Values { section, set }
    }

    pub(super) fn add_table(&mut self, form: &TableForm, table: Table) {
        self.tables.entry(form.name).or_default().push(table);
    }

    /// The tables of a name, in the order of the file.
    pub(crate) fn tables(&self, name: &str) -> &[Table] {
        self.tables.get(name).map_or(&[], Vec::as_slice)
    }

    /// The applications.
    pub(crate) fn mounts(&self) -> Vec<Mount> {
        let mount = |table: &Table| Mount {
            kind: table.text("kind").to_owned(),
            path: table.text("path").to_owned(),
            line: table.line,
        };
        self.tables("app").iter().map(mount).collect()
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

    /// The keys whose values differ, and the names of the tables that do.
    pub(crate) fn differences(&self, other: &Self) -> Vec<String> {
        let values =
            |settings: &Self, key: &str| settings.get(key).map(|setting| setting.values.clone());
        let mut keys: Vec<String> = keys().map(|(key, _)| key).collect();
        keys.retain(|key| values(self, key) != values(other, key));
        keys.extend(
            table_names().filter(|name| self.tables_differ(other, name)).map(str::to_owned),
        );
        keys
    }

    fn tables_differ(&self, other: &Self, name: &str) -> bool {
        let (own, others) = (self.tables(name), other.tables(name));
        let mut pairs = own.iter().zip(others);
        own.len() != others.len() || pairs.any(|(one, other)| one.values.differ(&other.values))
    }

    /// Takes over the values of these keys.
    pub(crate) fn take_over(&mut self, mut other: Self, keys: &[String]) {
        for key in keys {
            if let Some(form) = table_form(key) {
                self.tables.insert(form.name, other.tables.remove(form.name).unwrap_or_default());
                continue;
            }
            match other.values.set.remove(key) {
                Some(setting) => self.values.set.insert(key.clone(), setting),
                None => self.values.set.remove(key),
            };
        }
    }

    /// The path of the file, for messages.
    pub(crate) fn file_name(&self) -> String {
        self.file.as_deref().map_or("no file".to_owned(), shown)
    }
}

/// A path for messages and comments.
fn shown(path: &Path) -> String {
    one_line(&path.display().to_string())
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
        other.set("server.cores", vec!["0".into()], flag.clone()).unwrap();
        let form = table_form("app").unwrap();
        let table = |path: &str, line: usize| {
            let mut table = Table::new(form, line);
            table.set("path", Setting { values: vec![path.to_owned()], origin: flag.clone() });
            table
        };
        one.add_table(form, table("/", 3));
        other.add_table(form, table("/", 1));
        assert_eq!(one.differences(&other), ["server.cores"]);
        other.add_table(form, table("/a", 2));
        assert_eq!(one.differences(&other), ["server.cores", "app"]);
        one.add_table(form, table("/b", 2));
        assert_eq!(one.differences(&other), ["server.cores", "app"]);
        one.take_over(other.clone(), &["app".to_owned()]);
        assert_eq!(one.differences(&other), ["server.cores"]);
    }
}
