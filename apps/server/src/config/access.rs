//! Who may connect: the engine's policies, as the settings name them. They apply to every path; what
//! a request must look like is the policies' own.

use ringsock::ServerBuilder;
use ringsock::policy::{
    AllowedHosts, AllowedOrigins, Authentication, ResponseHeaders, Secrets, Subprotocols,
};

use super::settings::Settings;
use super::value::Value;

/// The policies that were asked for.
#[derive(Debug, Default)]
pub(crate) struct Access {
    hosts: Option<AllowedHosts>,
    origins: Option<AllowedOrigins>,
    authentication: Option<Authentication>,
    subprotocols: Option<Subprotocols>,
    headers: Option<ResponseHeaders>,
}

impl Access {
    pub(super) fn read(settings: &Settings) -> Result<Self, String> {
        let is_true = |text: &str| bool::read("origin_required", text);
        let required = settings.read("access.origin_required", is_true)?.unwrap_or(false);
        let origins = list(settings, "access.origins", AllowedOrigins::new)?;
        if required && origins.is_none() {
            return Err("access.origin_required is of use only with access.origins".to_owned());
        }
        Ok(Self {
            hosts: list(settings, "access.hosts", AllowedHosts::new)?,
            origins: origins.map(|origins| if required { origins.required() } else { origins }),
            authentication: authentication(settings)?,
            subprotocols: list(settings, "access.subprotocols", Subprotocols::new)?,
            headers: list(settings, "access.headers", |lines| {
                let pairs = lines.iter().map(|line| line.split_once(':').unwrap_or((line, "")));
                ResponseHeaders::new(pairs.map(|(name, value)| (name.trim(), value.trim())))
            })?,
        })
    }

    /// Has the server ask them.
    pub(crate) fn apply(self, mut server: ServerBuilder) -> ServerBuilder {
        if let Some(hosts) = self.hosts {
            server = server.policy(hosts);
        }
        if let Some(origins) = self.origins {
            server = server.policy(origins);
        }
        if let Some(authentication) = self.authentication {
            server = server.policy(authentication);
        }
        if let Some(subprotocols) = self.subprotocols {
            server = server.policy(subprotocols);
        }
        match self.headers {
            Some(headers) => server.policy(headers),
            None => server,
        }
    }
}

/// A policy made of the values of a list, if it was set.
fn list<T, E: ToString>(
    settings: &Settings,
    key: &str,
    make: impl FnOnce(Vec<String>) -> Result<T, E>,
) -> Result<Option<T>, String> {
    let Some(setting) = settings.get(key) else { return Ok(None) };
    let named = |error: E| format!("{}: {key}: {}", setting.origin, error.to_string());
    make(setting.values.clone()).map(Some).map_err(named)
}

/// Names and secrets come from a file, so that no secret stands in the configuration.
fn authentication(settings: &Settings) -> Result<Option<Authentication>, String> {
    let secrets = settings.read("access.secrets_file", |path| {
        let text = std::fs::read_to_string(path).map_err(|error| format!("'{path}': {error}"))?;
        secrets(path, &text)
    })?;
    let places = settings.get("access.secrets_in");
    let Some(secrets) = secrets else {
        return match places {
            Some(_) => Err("access.secrets_in is of use only with access.secrets_file".to_owned()),
            None => Ok(None),
        };
    };
    let bearer = ["bearer".to_owned()];
    let places = places.map_or(&bearer[..], |setting| &setting.values);
    let mut authentication = Authentication::new(Secrets::new(secrets));
    for place in places {
        authentication = match place.split_once(':') {
            None if place == "bearer" => authentication.bearer(),
            None if place == "basic" => authentication.basic("ringsock"),
            Some(("cookie", name)) => authentication.cookie(name),
            Some(("query", name)) => authentication.query(name),
            _ => {
                return Err(format!(
                    "access.secrets_in: '{place}' is no place: give bearer, basic, cookie:NAME or query:NAME"
                ));
            }
        };
    }
    Ok(Some(authentication))
}

/// The pairs of a file: a name, a space and a secret on each line. Lines without anything and such that
/// begin with `#` say nothing.
fn secrets(path: &str, text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    for (number, line) in text.lines().map(str::trim).enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let pair = line.split_once(char::is_whitespace);
        let (name, secret) = pair.ok_or_else(|| {
            format!("{path}:{}: a line is a name, a space and a secret", number + 1)
        })?;
        pairs.push((name.to_owned(), secret.trim().to_owned()));
    }
    if pairs.is_empty() { Err(format!("'{path}' names nobody")) } else { Ok(pairs) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_nobodys_secret() {
        let text =
            "# production tokens\n\nanna sesame\n  # old\n \t\nbert  pep per \r\nanna other\n";
        let pair = |name: &str, secret: &str| (name.to_owned(), secret.to_owned());
        let expected = [pair("anna", "sesame"), pair("bert", "pep per"), pair("anna", "other")];
        assert_eq!(secrets("s", text).unwrap(), expected);
        assert!(secrets("s", "# anna sesame\n").unwrap_err().contains("'s' names nobody"));
        assert!(secrets("s", "#\nanna\n").unwrap_err().starts_with("s:2: "));
        assert!(secrets("s", "anna \n").unwrap_err().starts_with("s:1: "));
    }
}
