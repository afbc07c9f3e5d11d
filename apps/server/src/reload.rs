//! What a running server takes over from a configuration that has changed. A bad one changes
//! nothing, and what needs a restart is named.

use ringsock::Controller;

use crate::apps::Apps;
use crate::cli::ServeArguments;
use crate::config::{self, Access, Config, Settings};
use crate::log::LogLevel;

/// What runs at present.
pub(crate) struct Reloader {
    pub(crate) settings: Settings,
    pub(crate) apps: Apps,
    pub(crate) access: Access,
    pub(crate) level: LogLevel,
}

impl Reloader {
    /// Reads the configuration and the files that it names again, from where the arguments say, and
    /// applies what has changed.
    pub(crate) fn reload(&mut self, arguments: &ServeArguments, controller: &Controller) {
        let limits = self.apps.limits();
        let read = config::gather(arguments)
            .and_then(|settings| Config::read(&settings, &limits).map(|config| (settings, config)));
        let (settings, config) = match read {
            Ok(read) => read,
            Err(error) => {
                tracing::error!(%error, "the configuration is kept as it was");
                return;
            }
        };
        let applied = controller.set_admin_token(config.admin_token);
        if let Err(error) = applied.and_then(|()| controller.set_limits(config.limits)) {
            tracing::error!(%error, "the configuration is kept as it was");
            return;
        }
        self.access.take_over(config.access);
        if let Err(error) = controller.reload_tls() {
            tracing::error!(%error, "the certificates are kept as they were");
        }
        self.level.set(&config.log_level);
        let (live, fixed): (Vec<String>, Vec<String>) =
            self.settings.differences(&settings).into_iter().partition(|key| config::is_live(key));
        if !fixed.is_empty() {
            tracing::warn!(keys = fixed.join(" "), "changed, but only a restart takes that over");
        }
        tracing::info!(keys = live.join(" "), "configuration read again, with the files it names");
        self.settings.take_over(settings, &live);
    }
}
