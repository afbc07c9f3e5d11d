//! What a running server takes over from a configuration that has changed. A bad one changes
//! nothing, and what needs a restart is named.

use ringsock::Controller;

use crate::apps::Apps;
use crate::cli::ServeArguments;
use crate::config::{self, Access, Configuration, Said, Settings};
use crate::log::LogLevel;
use crate::plan::Plan;

/// What runs at present.
pub(crate) struct Reloader {
    settings: Settings,
    apps: Apps,
    access: Access,
    level: LogLevel,
}

impl Reloader {
    pub(crate) fn new(plan: Plan, level: LogLevel) -> Self {
        let Plan { settings, apps, access, .. } = plan;
        Self { settings, apps, access, level }
    }

    /// Reads the configuration and the files that it names again, from where the arguments say, and
    /// applies what has changed.
    pub(crate) fn reload(&mut self, arguments: &ServeArguments, controller: &Controller) {
        if let Err(error) = self.try_reload(arguments, controller) {
            let error = config::one_line(&error);
            tracing::error!(%error, "the configuration is kept as it was");
        }
    }

    fn try_reload(
        &mut self,
        arguments: &ServeArguments,
        controller: &Controller,
    ) -> Result<(), String> {
        let settings = Settings::gather(&Said::by(arguments)?)?;
        let apps = match &self.apps {
            Apps::Echo => Apps::Echo,
            Apps::Mounted(_) => Apps::mounted(settings.mounts(), &settings.file_name())?,
        };
        let configuration = Configuration::of(settings, apps, &config::from_disk)?;
        let Plan { settings, access, config, .. } = Plan::make(configuration)?;
        controller.set_admin_token(config.admin_token).map_err(|error| error.to_string())?;
        controller.set_limits(config.limits).map_err(|error| error.to_string())?;
        self.access.take_over(access);
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
        Ok(())
    }
}
