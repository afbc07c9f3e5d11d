//! Where the log goes, in which form and how much of it. Nothing is logged for a message.

use std::io::IsTerminal;
use std::str::FromStr;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

/// The form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object in each line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("'{text}' is not a form of log: give text or json")),
        }
    }
}

/// Whether it is a level (`error`, `warn`, `info`, `debug`, `trace`, `off`) or a list of directives
/// as in `info,ringsock=debug`.
pub(crate) fn check_level(text: &str) -> Result<String, String> {
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => {
            Err(format!("'{text}' is not a level: give error, warn, info, debug, trace or off"))
        }
    }
}

/// Changes how much is logged.
pub(crate) struct LogLevel {
    handle: reload::Handle<EnvFilter, Registry>,
}

/// Begins to log to the standard error.
pub(crate) fn begin(level: &str, format: LogFormat) -> LogLevel {
    let (filter, handle) = reload::Layer::new(EnvFilter::new(level));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let layer = match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.with_ansi(false).json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(layer).init();
    LogLevel { handle }
}

impl LogLevel {
    /// Logs at another level from now on.
    pub(crate) fn set(&self, level: &str) {
        // The subscriber lives as long as the process.
        let _ = self.handle.reload(EnvFilter::new(level));
    }
}
