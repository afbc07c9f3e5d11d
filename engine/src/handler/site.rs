//! What a server decides about a request before a handler is asked: policies, routes, pages. It
//! holds no connection and asks no handler, and it is the same for all shards.

use std::borrow::Cow;
use std::fmt;

use matchit::Router;

use super::admission::{Admission, Policy};
use super::page::{Page, Pages};
use super::policy::{Paths, insert};
use super::proxies::TrustedProxies;
use crate::connection::Decision;
use crate::protocol::handshake::{Rejection, Request, RequestContext, Status, check_path};

/// A policy with the paths it is for.
struct Guard {
    /// Every path if none.
    paths: Option<Paths>,
    policy: Box<dyn Policy>,
}

/// Pages, routes and policies of a server.
#[derive(Default)]
pub(crate) struct Site {
    pages: Pages,
    health: Pages,
    guards: Vec<Guard>,
    /// The numbers of the routes; where there are none, every path is the one handler's.
    routes: Option<Router<u16>>,
    proxies: TrustedProxies,
    /// The route of paths that no other one matches.
    fallback: Option<u16>,
}

impl fmt::Debug for Site {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Site")
            .field("pages", &self.pages)
            .field("guards", &self.guards.len())
            .finish_non_exhaustive()
    }
}

impl Site {
    pub(crate) fn add_page(&mut self, path: String, page: Page) -> Result<(), String> {
        add_to(&mut self.pages, path, page)
    }

    pub(crate) fn add_health(&mut self, path: String) -> Result<(), String> {
        add_to(&mut self.health, path, Page::healthy())
    }

    /// Adds a policy for the paths that match a pattern, or for all.
    pub(crate) fn add_policy(
        &mut self,
        pattern: Option<&str>,
        policy: Box<dyn Policy>,
    ) -> Result<(), String> {
        let paths = pattern.map(|pattern| Paths::new([pattern])).transpose();
        let paths = paths.map_err(|error| error.to_string())?;
        self.guards.push(Guard { paths, policy });
        Ok(())
    }

    /// Adds the route of this number.
    pub(crate) fn add_route(&mut self, pattern: &str, route: u16) -> Result<(), String> {
        insert(self.routes.get_or_insert_default(), pattern, route)
    }

    pub(crate) fn trust(&mut self, proxies: TrustedProxies) {
        self.proxies = proxies;
    }

    pub(crate) fn proxies(&self) -> &TrustedProxies {
        &self.proxies
    }

    /// From now on paths without a route are refused, unless this one takes them.
    pub(crate) fn route_everything(&mut self, fallback: Option<u16>) {
        self.routes.get_or_insert_default();
        self.fallback = fallback;
    }

    /// Decides on a request that the handler need not see; otherwise asks the handler with
    /// `upgrade`, which is given the request with all that is known of it.
    ///
    /// What the policies have settled is to be added with [`complete`] once the decision is made.
    pub(crate) fn decide(
        &self,
        request: &Request<'_>,
        upgrade: impl FnOnce(&Request<'_>) -> Decision,
    ) -> (Decision, Admission) {
        if !request.is_upgrade()
            && let Some(page) = self.health.find(request.path())
        {
            return (page.decision(request), Admission::default());
        }
        let mut admission = Admission::default();
        let decision = match self.admit(request, &mut admission) {
            Ok(()) => self.answer(request, admission.identity.as_deref(), upgrade),
            Err(rejection) => Decision::Reject(rejection),
        };
        (decision, admission)
    }

    fn admit(&self, request: &Request<'_>, admission: &mut Admission) -> Result<(), Rejection> {
        for guard in &self.guards {
            if guard.paths.as_ref().is_none_or(|paths| paths.include(request.path())) {
                guard.policy.check(request, admission)?;
            }
        }
        Ok(())
    }

    fn answer(
        &self,
        request: &Request<'_>,
        identity: Option<&str>,
        upgrade: impl FnOnce(&Request<'_>) -> Decision,
    ) -> Decision {
        let page = self.pages.find(request.path());
        if let Some(page) = page.filter(|_| !request.is_upgrade()) {
            return page.decision(request);
        }
        let mut params = Vec::new();
        let route = match self.routes.as_ref().map(|routes| routes.at(request.path())) {
            None => None,
            Some(Ok(found)) => {
                params.extend(found.params.iter());
                Some(*found.value)
            }
            Some(Err(_)) => match self.fallback {
                Some(fallback) => Some(fallback),
                None if page.is_some() => return Decision::Reject(only_a_page()),
                None => return Decision::Reject(nothing_here()),
            },
        };
        if !request.is_upgrade() {
            return Decision::Reject(Rejection::upgrade_required());
        }
        let context = RequestContext { route, params: &params, identity, ..*request.context() };
        upgrade(&request.with_context(context))
    }
}

fn nothing_here() -> Rejection {
    Rejection::new(Status::NOT_FOUND, "nothing is served at this path")
}

fn only_a_page() -> Rejection {
    Rejection::new(Status::NOT_FOUND, "this path has a page and no WebSocket: ask with a plain GET")
}

fn add_to(pages: &mut Pages, path: String, page: Page) -> Result<(), String> {
    check_path(&path).map_err(|reason| format!("the path '{path}' {reason}"))?;
    pages.add(path, page);
    Ok(())
}

/// Adds to a decision what the policies have settled.
pub(crate) fn complete(decision: Decision, admission: Admission) -> Decision {
    let Admission { subprotocol: preferred, headers: added, .. } = admission;
    let owned = |(name, value)| (Cow::Owned(name), Cow::Owned(value));
    match decision {
        Decision::Accept { subprotocol, mut headers } => {
            headers.extend(added);
            Decision::Accept { subprotocol: subprotocol.or(preferred), headers }
        }
        Decision::Reject(rejection) => Decision::Reject(
            added.into_iter().fold(rejection, |all, (name, value)| all.with_header(name, value)),
        ),
        Decision::Page { status, content_type, body, mut headers } => {
            headers.extend(added.into_iter().map(owned));
            Decision::Page { status, content_type, body, headers }
        }
        Decision::Later => Decision::Later,
    }
}
