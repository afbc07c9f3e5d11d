//! Who may connect: the engine's policies, as the settings name them, for every path and for some.
//! What a request must look like is the policies' own.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use ringsock::Policy;
use ringsock::http::{Rejection, Request};
use ringsock::policy::{
    Admission, AllowedHosts, AllowedOrigins, Authentication, Paths, ResponseHeaders, Secrets,
    Subprotocols,
};

use super::said::Files;
use super::settings::{Settings, Values};
use super::value::Value;

/// What `[access]` says for every path, and each `[[access.at]]` for its own. Clones are one and
/// the same, so that a server that runs can be given other policies.
#[derive(Clone, Default)]
pub(crate) struct Access {
    policies: Arc<RwLock<Vec<Policies>>>,
}

impl fmt::Debug for Access {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Access").finish_non_exhaustive()
    }
}

impl Access {
    pub(super) fn read(settings: &Settings, files: Files<'_>) -> Result<Self, String> {
        let mut policies = vec![Policies::read(&settings.section("access"), files)?];
        for table in settings.tables("access.at") {
            policies.push(Policies::read(&table.values, files)?);
        }
        Ok(Self { policies: Arc::new(RwLock::new(policies)) })
    }

    /// Asks from now on what the other would.
    pub(crate) fn take_over(&self, other: Self) {
        let mut theirs = other.policies.write().unwrap_or_else(PoisonError::into_inner);
        let policies = std::mem::take(&mut *theirs);
        *self.policies.write().unwrap_or_else(PoisonError::into_inner) = policies;
    }
}

impl Policy for Access {
    /// Headers come first, so that every rejection has them.
    fn check(&self, request: &Request<'_>, admission: &mut Admission) -> Result<(), Rejection> {
        let policies = self.policies.read().unwrap_or_else(PoisonError::into_inner);
        let meant = || policies.iter().filter(|policies| policies.are_for(request.path()));
        meant()
            .filter_map(|own| own.headers.as_ref())
            .try_for_each(|headers| headers.check(request, admission))?;
        meant().flat_map(|own| &own.asked).try_for_each(|policy| policy.check(request, admission))
    }
}

/// The policies of some paths, or of all.
struct Policies {
    paths: Option<Paths>,
    headers: Option<ResponseHeaders>,
    /// In the order in which they are asked.
    asked: Vec<Box<dyn Policy>>,
}

impl Policies {
    fn read(values: &Values, files: Files<'_>) -> Result<Self, String> {
        let is_true = |text: &str| bool::read("origin_required", text);
        let required = values.read("origin_required", is_true)?.unwrap_or(false);
        let origins = list(values, "origins", AllowedOrigins::new)?;
        if required && origins.is_none() {
            return Err(values.wrong("origin_required", "of use only with origins"));
        }
        let origins = origins.map(|origins| if required { origins.required() } else { origins });
        let mut asked: Vec<Box<dyn Policy>> = Vec::new();
        let mut ask = |policy: Option<Box<dyn Policy>>| asked.extend(policy);
        ask(boxed(list(values, "hosts", AllowedHosts::new)?));
        ask(boxed(origins));
        ask(boxed(authentication(values, files)?));
        ask(boxed(list(values, "subprotocols", Subprotocols::new)?));
        let headers = list(values, "headers", |lines| {
            let pairs = lines.iter().map(|line| line.split_once(':').unwrap_or((line, "")));
            ResponseHeaders::new(pairs.map(|(name, value)| (name.trim(), value.trim())))
        })?;
        Ok(Self { paths: list(values, "paths", Paths::new)?, headers, asked })
    }

    fn are_for(&self, path: &str) -> bool {
        self.paths.as_ref().is_none_or(|paths| paths.include(path))
    }
}

fn boxed<P: Policy>(policy: Option<P>) -> Option<Box<dyn Policy>> {
    policy.map(|policy| Box::new(policy) as Box<dyn Policy>)
}

/// A policy made of the values of a list, if it was set.
fn list<T, E: ToString>(
    values: &Values,
    key: &str,
    make: impl FnOnce(Vec<String>) -> Result<T, E>,
) -> Result<Option<T>, String> {
    let Some(setting) = values.get(key) else { return Ok(None) };
    make(setting.values.clone()).map(Some).map_err(|error| values.wrong(key, &error.to_string()))
}

/// Names and secrets come from a file, so that no secret stands in the configuration.
fn authentication(values: &Values, files: Files<'_>) -> Result<Option<Authentication>, String> {
    let secrets = values.read("secrets_file", |path| {
        let text = files(path).map_err(|error| format!("'{path}': {error}"))?;
        secrets(path, &text)
    })?;
    let places = values.get("secrets_in");
    let Some(secrets) = secrets else {
        return match places {
            Some(_) => Err(values.wrong("secrets_in", "of use only with secrets_file")),
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
                let reason =
                    format!("'{place}' is no place: give bearer, basic, cookie:NAME or query:NAME");
                return Err(values.wrong("secrets_in", &reason));
            }
        };
    }
    Ok(Some(authentication))
}

/// The pairs of a file: a name, a space and a secret on each line. Lines without anything and such
/// that begin with `#` say nothing.
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
