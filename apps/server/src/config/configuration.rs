//! The whole: what was said, understood and found good. Whether a server could start with it on this
//! machine is not asked here, and of files only those with secrets are read.

use super::access::Access;
use super::said::{Files, Said};
use super::settings::Settings;
use super::{Config, one_line, print};
use crate::apps::Apps;

/// A configuration without a mistake in it.
pub struct Configuration {
    pub(crate) settings: Settings,
    pub(crate) apps: Apps,
    pub(crate) access: Access,
    pub(crate) config: Config,
}

impl Configuration {
    /// Understands what was said, with the applications that it mounts; with echo if it mounts none.
    ///
    /// # Errors
    /// One line that names the place of what is wrong, or its key.
    pub fn read(said: &Said, files: Files<'_>) -> Result<Self, String> {
        Self::try_read(said, files).map_err(|error| one_line(&error))
    }

    fn try_read(said: &Said, files: Files<'_>) -> Result<Self, String> {
        let settings = Settings::gather(said)?;
        let apps = match settings.mounts() {
            mounts if mounts.is_empty() => Apps::Echo,
            mounts => Apps::mounted(mounts, &settings.file_name())?,
        };
        Self::of(settings, apps, files)
    }

    /// Understands settings, for these applications.
    pub(crate) fn of(settings: Settings, apps: Apps, files: Files<'_>) -> Result<Self, String> {
        let config = Config::read(&settings, &apps, files)?;
        let access = Access::read(&settings, files)?;
        Ok(Self { settings, apps, access, config })
    }

    /// The whole as a file that can be read again, each value with where it came from. Secrets are
    /// not shown.
    pub fn print(&self) -> String {
        print::print(&self.settings, &self.config)
    }

    /// Whether both mean the same, wherever it was said and however it was written; of secrets only
    /// whether there are any.
    pub fn is_same(&self, other: &Self) -> bool {
        // What nothing more is made of than a handler is compared as it was said.
        let is_handlers = |key: &String| key == "app" || key.starts_with("access.");
        let differ = self.settings.differences(&other.settings).iter().any(is_handlers);
        self.config.without_secrets() == other.config.without_secrets() && !differ
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str) -> Result<Configuration, String> {
        let said = Said { file: Some(("r.toml".into(), file.to_owned())), ..Said::default() };
        Configuration::read(&said, &|_| Ok(String::new()))
    }

    /// The page of a configuration, which reads as the same one.
    fn printed(file: &str) -> String {
        let first = read(file).unwrap();
        let page = first.print();
        assert!(first.is_same(&read(&page).unwrap()), "{page}");
        page
    }

    #[test]
    fn addresses_that_nobody_asked_for_are_not_asked_for_by_the_page() {
        let page = printed("");
        assert!(page.contains("# listen is not set: 127.0.0.1:9001, or the sockets"), "{page}");
        assert!(page.contains("listen = \"off\" # default"), "{page}");
        let page = printed("[[app]]\nkind = \"echo\"\npath = \"/\"\n");
        assert!(page.contains("# listen is not set: 127.0.0.1:9601, if it is free"), "{page}");
        let page = printed("[admin]\nlisten = \"127.0.0.1:1\"\n[server]\nlisten = [\"[::1]:2\"]\n");
        assert!(page.contains("listen = \"127.0.0.1:1\" # r.toml:2"), "{page}");
        assert!(page.contains("listen = [\"[::1]:2\"] # r.toml:4"), "{page}");
    }

    #[test]
    fn compression_that_is_off_is_shown_as_it_would_be_if_it_were_on() {
        let page = printed("[deflate]\nsend_window_bits = 9\n");
        assert!(page.contains("enabled = false # default"), "{page}");
        assert!(page.contains("send_window_bits = 9 # r.toml:2"), "{page}");
    }

    #[test]
    fn an_error_is_one_line_whatever_stands_in_the_value() {
        for (file, line) in [
            ("[limits]\nping_interval = \"1\\n2\"\n", "r.toml:2: limits.ping_interval: '1\\n2' is"),
            ("[limits]\n\"a\\u001b\" = 1\n", "r.toml:2: there is no key 'limits.a\\u{1b}'"),
            ("[[app]]\nkind = \"\\r\"\npath = \"/\"\n", "r.toml:1: there is no application '\\r'"),
        ] {
            let error = read(file).err().unwrap();
            assert!(error.starts_with(line) && !error.contains(char::is_control), "{error:?}");
        }
        let said =
            Said { file: Some(("a\nb".into(), "[server]\ncores = 0\n".into())), ..Said::default() };
        let page = Configuration::read(&said, &|_| Ok(String::new())).unwrap().print();
        read(&page).unwrap();
    }
}
