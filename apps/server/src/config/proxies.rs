//! Which proxies are believed when they say whom they speak for. What they say is the engine's to
//! read.

use ringsock::server::TrustedProxies;

use super::settings::Settings;
use super::value::Value;

/// The proxies that the settings name, if they name any.
pub(super) fn read(settings: &Settings) -> Result<TrustedProxies, String> {
    let networks = settings.get("proxies.networks");
    let named = networks.map_or(&[][..], |setting| &setting.values);
    let wrong = |reason| match networks {
        Some(setting) => format!("{}: proxies.networks: {reason}", setting.origin),
        None => format!("proxies.networks: {reason}"),
    };
    let mut proxies = TrustedProxies::new(named).map_err(|error| wrong(error.to_string()))?;
    let is_true = |text: &str| bool::read("proxy_protocol", text);
    let protocol = settings.read("proxies.proxy_protocol", is_true)?.unwrap_or(false);
    let header = settings.read("proxies.header", |text| match text {
        "x-forwarded-for" => Ok(TrustedProxies::x_forwarded_for as fn(_) -> _),
        "forwarded" => Ok(TrustedProxies::forwarded as fn(_) -> _),
        _ => Err(format!("'{text}' is no such header: give x-forwarded-for or forwarded")),
    })?;
    if protocol {
        proxies = proxies.proxy_protocol();
    }
    if let Some(header) = header {
        proxies = header(proxies);
    }
    if named.is_empty() == (protocol || header.is_some()) {
        return Err(wrong(
            "networks, and proxy_protocol or header, are of use only together".to_owned(),
        ));
    }
    Ok(proxies)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Origin;

    fn proxies(pairs: &[(&str, &str)]) -> Result<TrustedProxies, String> {
        let mut settings = Settings::default();
        for (name, value) in pairs {
            let origin = Origin::Flag("--set".to_owned());
            settings.set(&format!("proxies.{name}"), vec![(*value).to_owned()], origin)?;
        }
        read(&settings)
    }

    #[test]
    fn networks_and_what_they_say_belong_together() {
        assert_eq!(proxies(&[]), Ok(TrustedProxies::default()));
        let expected = TrustedProxies::new(["10.0.0.0/8"]).unwrap();
        let network = ("networks", "10.0.0.0/8");
        assert_eq!(
            proxies(&[network, ("proxy_protocol", "true")]),
            Ok(expected.clone().proxy_protocol())
        );
        assert_eq!(proxies(&[network, ("header", "forwarded")]), Ok(expected.forwarded()));
        for (pairs, named) in [
            (&[network][..], "only together"),
            (&[("header", "forwarded")], "only together"),
            (&[("networks", "10.0.0.0/99"), ("proxy_protocol", "true")], "'10.0.0.0/99'"),
            (&[network, ("header", "via")], "'via'"),
            (&[network, ("proxy_protocol", "yes")], "'yes'"),
        ] {
            let error = proxies(pairs).unwrap_err();
            assert!(error.contains(named) && error.contains("proxies"), "{error}");
        }
    }
}
