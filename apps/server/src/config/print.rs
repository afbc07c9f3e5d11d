//! Shows what holds: the settings as a file that can be read again. It decides nothing and shows no
//! secrets.

use std::fmt::Write;

use ringsock::server::Latency;
use ringsock::{Deflate, Limits};

use super::groups::Group;
use super::settings::{Form, Origin, Settings, keys, table_form, table_names};
use super::{Admin, Config, LISTEN, OFF};

/// The whole configuration as a file that can be read again, each value with where it came from.
/// Secrets are not shown.
pub(super) fn print(settings: &Settings, config: &Config) -> String {
    let mut page = String::new();
    let mut open = String::new();
    for (key, form) in keys() {
        let (section, name) = key.split_once('.').unwrap_or_default();
        if section != open {
            let gap = if open.is_empty() { "" } else { "\n" };
            // Writing to a string does not fail, here and below.
            let _ = writeln!(page, "{gap}[{section}]");
            open = section.to_owned();
        }
        let set = settings.get(&key);
        let origin = set.map_or(&Origin::Default, |setting| &setting.origin);
        let shown = match set {
            Some(_) if form == Form::Secret => Some("\"(not shown)\"".to_owned()),
            Some(setting) if form == Form::List => Some(quoted_list(&setting.values)),
            Some(setting) if !is_in_group(section, name) => {
                setting.values.first().map(|value| quoted(value))
            }
            _ => default_of(config, section, name),
        };
        let _ = match shown {
            Some(shown) => writeln!(page, "{name} = {shown} # {origin}"),
            None => writeln!(page, "# {name} is not set{}", instead(config, &key)),
        };
    }
    table_names().for_each(|name| print_tables(&mut page, settings, name));
    page
}

fn print_tables(page: &mut String, settings: &Settings, name: &str) {
    let Some(form) = table_form(name) else { return };
    for table in settings.tables(name) {
        let _ = writeln!(page, "\n[[{name}]] # {}:{}", settings.file_name(), table.line);
        for (key, form) in form.keys {
            let Some(setting) = table.values.get(key) else { continue };
            let shown = match form {
                Form::List => quoted_list(&setting.values),
                Form::One | Form::Secret => quoted(table.text(key)),
            };
            let _ = writeln!(page, "{key} = {shown}");
        }
    }
}

/// What holds for a key that was not set, or, for a limit, in any case.
fn default_of(config: &Config, section: &str, name: &str) -> Option<String> {
    match (section, name) {
        (Limits::SECTION, name) => shown(&config.limits, name),
        (Latency::SECTION, name) => shown(&config.latency, name),
        (Deflate::SECTION, "enabled") => Some(config.deflates.to_string()),
        (Deflate::SECTION, name) => shown(&config.deflate, name),
        ("server", "cores") => Some(quoted("all")),
        ("server", "driver") => Some(quoted("auto")),
        ("server", "name") => Some(quoted(&config.server_name)),
        ("admin", "listen") if config.admin == Admin::Off => Some(quoted(OFF)),
        ("tls", "minimum_version") if config.tls.is_some() => Some(quoted("1.2")),
        ("log", "level") => Some(quoted(&config.log_level)),
        ("log", "format") => Some(quoted("text")),
        _ => None,
    }
}

/// What is done where nothing is said, if saying it would be something else: an address that is asked
/// for must be had, and goes before the sockets that are passed.
fn instead(config: &Config, key: &str) -> String {
    match (key, &config.admin) {
        ("server.listen", _) => format!(": {LISTEN}, or the sockets that a service manager passes"),
        ("admin.listen", Admin::Usual(address)) => format!(": {address}, if it is free"),
        _ => String::new(),
    }
}

/// Whether the key is a field of one of the engine's groups.
fn is_in_group(section: &str, name: &str) -> bool {
    match section {
        Limits::SECTION => Limits::NAMES.contains(&name),
        Latency::SECTION => Latency::NAMES.contains(&name),
        Deflate::SECTION => name == "enabled" || Deflate::NAMES.contains(&name),
        _ => false,
    }
}

/// A field as the file has it: numbers and truths bare, everything else in quotes.
fn shown(group: &impl Group, name: &str) -> Option<String> {
    let shown = group.show(name);
    let bare = shown.bytes().all(|byte| byte.is_ascii_digit()) || shown.parse::<bool>().is_ok();
    Some(if bare { shown } else { quoted(&shown) })
}

/// A text as TOML has it.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn quoted_list(texts: &[String]) -> String {
    toml::Value::from(texts.to_vec()).to_string()
}
