//! What the server is told, from defaults, the file, the environment and flags, each going before
//! the ones named earlier. It starts nothing.

mod access;
mod configuration;
mod file;
mod groups;
mod print;
mod proxies;
mod said;
mod settings;
mod tls;
mod value;

use std::path::PathBuf;

use ringsock::server::{Latency, TrustedProxies};
use ringsock::{Cores, Deflate, Driver, Limits};

use crate::apps::Apps;
use crate::log::LogFormat;
pub(crate) use access::Access;
pub use configuration::Configuration;
use groups::{FIXED_LIMITS, Group};
pub(crate) use said::from_disk;
pub use said::{Files, Said};
pub(crate) use settings::{Mount, Settings};
use tls::TlsFiles;
use value::Value;

/// Where it listens unless told otherwise.
const LISTEN: &str = "127.0.0.1:9001";
/// Where the admin address of applications is unless told otherwise.
const ADMIN: &str = "127.0.0.1:9601";
/// What says that there shall be none.
const OFF: &str = "off";
/// What is logged unless told otherwise.
const LOG_LEVEL: &str = "info";

/// Everything in its own type, but who may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Config {
    /// Empty when nothing was said: then inherited sockets, else the usual address.
    pub(crate) listen: Vec<String>,
    pub(crate) cores: Cores,
    pub(crate) driver: Driver,
    /// The value of the `Server` header; empty for none.
    pub(crate) server_name: String,
    pub(crate) handover: Option<PathBuf>,
    pub(crate) admin: Admin,
    pub(crate) admin_token: Option<String>,
    pub(crate) log_level: String,
    pub(crate) log_format: LogFormat,
    pub(crate) limits: Limits,
    pub(crate) latency: Latency,
    /// Nobody, unless told otherwise.
    pub(crate) proxies: TrustedProxies,
    /// The files of certificate and key, if TLS is to be spoken.
    pub(crate) tls: Option<TlsFiles>,
    /// Whether compression is to be accepted.
    pub(crate) deflates: bool,
    /// And how.
    pub(crate) deflate: Deflate,
}

/// Where the admin address is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Admin {
    /// There is none.
    Off,
    /// Where nobody has asked for it: a server goes without it if it cannot be had.
    Usual(&'static str),
    /// Where somebody wants it.
    At(String),
}

/// Sets what was set of a group.
fn read_group<G: Group>(settings: &Settings, mut group: G) -> Result<G, String> {
    for name in G::NAMES {
        let key = format!("{}.{name}", G::SECTION);
        settings.read(&key, |text| group.set(name, text))?;
    }
    Ok(group)
}

/// The text of an error of the engine about a field of a group, with which it begins.
fn out_of_bounds(settings: &Settings, section: &str, reason: &str) -> String {
    let field = reason.split(' ').next().unwrap_or_default();
    let set = settings.get(&format!("{section}.{field}"));
    let origin = set.map(|setting| format!("{}: ", setting.origin)).unwrap_or_default();
    format!("{origin}{section}.{reason}")
}

/// A text in one line, whatever the file, a variable or a flag has put into it.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() {
            true => line.extend(character.escape_default()),
            false => line.push(character),
        }
    }
    line
}

/// A text that can stand in a header line.
fn header_value(text: &str) -> Result<String, String> {
    match text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        true => Ok(text.to_owned()),
        false => Err("a header line takes letters, digits and signs of ASCII only".to_owned()),
    }
}

fn read_admin(settings: &Settings, apps: &Apps) -> Result<Admin, String> {
    let asked = settings.read("admin.listen", |text| match text {
        "" => Err(format!("it is empty: give HOST:PORT, or {OFF} for none")),
        OFF => Ok(Admin::Off),
        address => Ok(Admin::At(address.to_owned())),
    })?;
    let usual = if apps.are_deployed() { Admin::Usual(ADMIN) } else { Admin::Off };
    Ok(asked.unwrap_or(usual))
}

/// The admin token: itself, or what a file holds, which a service manager can keep from others.
fn read_token(settings: &Settings, files: Files<'_>) -> Result<Option<String>, String> {
    let whole = |text: &str| match text.trim() {
        "" => Err("it is empty".to_owned()),
        text if text.contains(char::is_whitespace) => Err("a token has no blanks".to_owned()),
        text => Ok(text.to_owned()),
    };
    let token = settings.read("admin.token", whole)?;
    let from_file = settings.read("admin.token_file", |path| {
        let text = files(path);
        text.map_err(|error| format!("'{path}': {error}")).and_then(|text| whole(&text))
    })?;
    match (token, from_file) {
        (Some(_), Some(_)) => Err("admin.token and admin.token_file: give one of them".to_owned()),
        (token, from_file) => Ok(token.or(from_file)),
    }
}

impl Config {
    /// Reads each value; what nobody has set is the default, or what suits the applications.
    pub(crate) fn read(settings: &Settings, apps: &Apps, files: Files<'_>) -> Result<Self, String> {
        let some = |text: &str| {
            if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(text.to_owned()) }
        };
        let limits = read_group(settings, apps.limits())?;
        limits.validate().map_err(|reason| out_of_bounds(settings, "limits", &reason))?;
        let latency = read_group(settings, Latency::default())?;
        latency.validate().map_err(|reason| out_of_bounds(settings, "latency", &reason))?;
        let deflate = read_group(settings, Deflate::default())?;
        deflate.validate().map_err(|reason| out_of_bounds(settings, "deflate", &reason))?;
        let is_true = |text: &str| bool::read("enabled", text);
        let deflates = settings.read("deflate.enabled", is_true)?.unwrap_or(false);
        Ok(Self {
            listen: settings.get("server.listen").map_or(Vec::new(), |set| set.values.clone()),
            cores: settings.read("server.cores", str::parse)?.unwrap_or_default(),
            driver: settings.read("server.driver", str::parse)?.unwrap_or_default(),
            server_name: settings
                .read("server.name", header_value)?
                .unwrap_or_else(|| "ringsock".to_owned()),
            handover: settings.read("server.handover", some)?.map(PathBuf::from),
            admin: read_admin(settings, apps)?,
            admin_token: read_token(settings, files)?,
            log_level: settings
                .read("log.level", crate::log::check_level)?
                .unwrap_or_else(|| LOG_LEVEL.to_owned()),
            log_format: settings.read("log.format", str::parse)?.unwrap_or_default(),
            limits,
            latency,
            proxies: proxies::read(settings)?,
            tls: TlsFiles::read(settings)?,
            deflates,
            deflate,
        })
    }

    /// The same with every secret replaced by nothing.
    fn without_secrets(&self) -> Self {
        Self { admin_token: self.admin_token.as_ref().map(|_| String::new()), ..self.clone() }
    }

    /// Where to listen when there are no inherited sockets.
    pub(crate) fn listen_or_default(&self) -> Vec<String> {
        if self.listen.is_empty() { vec![LISTEN.to_owned()] } else { self.listen.clone() }
    }
}

/// Keys whose values a running server takes over from a file that has changed.
pub(crate) fn is_live(key: &str) -> bool {
    match key.split_once('.') {
        Some(("limits", name)) => !FIXED_LIMITS.contains(&name),
        Some(("access", _)) => true,
        _ => matches!(key, "log.level" | "admin.token" | "admin.token_file"),
    }
}
