//! What was said to a server, wherever: in the file, in the environment, in flags. Nothing of it is
//! understood here, only put in order.

use std::ffi::OsString;
use std::path::PathBuf;
use std::{env, fs, io};

use super::file;
use super::settings::{Form, Origin, Settings, form_of};
use crate::cli::ServeArguments;

/// Reads a file that the configuration names: whole, as a text.
pub type Files<'a> = &'a dyn Fn(&str) -> io::Result<String>;

/// Reads such a file where it is.
pub(crate) fn from_disk(path: &str) -> io::Result<String> {
    fs::read_to_string(path)
}

/// Words, each going before those of the fields above it.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// The path of the configuration file, and its text.
    pub file: Option<(PathBuf, String)>,
    /// The variables of the environment.
    pub variables: Vec<(String, String)>,
    /// What flags of their own set: a key, the flag's name, the values.
    pub flags: Vec<(&'static str, &'static str, Vec<String>)>,
    /// `KEY=VALUE` for any key.
    pub pairs: Vec<String>,
}

impl Said {
    /// What a command line says, and the environment and the file beside it.
    pub(crate) fn by(arguments: &ServeArguments) -> Result<Self, String> {
        let path = arguments.config.clone();
        let path = path.or_else(|| env::var_os("RINGSOCK_CONFIG").map(PathBuf::from));
        // A variable that is no text is none of ours.
        let text = |(name, value): (OsString, OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Ok(Self {
            file: path.map(read).transpose()?,
            variables: env::vars_os().filter_map(text).collect(),
            flags: arguments.flags(),
            pairs: arguments.set.clone(),
        })
    }
}

fn read(path: PathBuf) -> Result<(PathBuf, String), String> {
    let failed = |error| format!("{}: {error}; give a file that can be read", path.display());
    let text = fs::read_to_string(&path).map_err(failed)?;
    Ok((path, text))
}

impl Settings {
    /// Each key with what was said of it last.
    pub(crate) fn gather(said: &Said) -> Result<Self, String> {
        let mut settings = Self::default();
        if let Some((path, text)) = &said.file {
            file::read(&mut settings, path, text)?;
        }
        settings.read_environment(said.variables.iter().cloned())?;
        for (key, flag, values) in &said.flags {
            settings.set(key, values.clone(), Origin::Flag((*flag).to_owned()))?;
        }
        said.pairs.iter().try_for_each(|pair| settings.set_pair(pair))?;
        Ok(settings)
    }

    fn set_pair(&mut self, pair: &str) -> Result<(), String> {
        let origin = Origin::Flag("--set".to_owned());
        let (key, value) = pair.split_once('=').ok_or_else(|| {
            format!("{origin}: '{pair}' has no '=': give KEY=VALUE, as in limits.ping_interval=10s")
        })?;
        let values = match form_of(key) {
            Ok(Form::List) => value.split_whitespace().map(str::to_owned).collect(),
            _ => vec![value.to_owned()],
        };
        self.set(key, values, origin)
    }
}
