//! What a server offers at which path, as its builder is told. Nothing is decided here: requests
//! are the site's, and shards are started elsewhere.

use std::fmt;
use std::sync::Arc;

use super::builder::{ServerBuilder, ShardInfo};
use super::error::{Result, SetupError};
use super::running::Running;
use crate::handler::{Handler, Mount, Mounted, Page, Policy, RoutedHandler, TrustedProxies};

/// Makes the handler of a route for a shard.
type Factory = Arc<dyn Fn(ShardInfo) -> Box<dyn Mounted> + Send + Sync>;

/// The factories of the routes by number, and the first thing that was wrong with a path.
#[derive(Default)]
pub(super) struct Routes {
    factories: Vec<Factory>,
    wrong: Option<String>,
}

impl fmt::Debug for Routes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Routes").field("routes", &self.factories.len()).finish()
    }
}

impl Routes {
    fn note(&mut self, outcome: std::result::Result<(), String>) {
        if let Err(reason) = outcome {
            self.wrong.get_or_insert(reason);
        }
    }

    /// Takes a factory in; its number.
    fn add<H, F>(&mut self, factory: F) -> u16
    where
        H: Handler,
        F: Fn(ShardInfo) -> H + Send + Sync + 'static,
    {
        let route = u16::try_from(self.factories.len()).unwrap_or(u16::MAX);
        if route == u16::MAX {
            self.note(Err("there are more than 65,535 routes".to_owned()));
        }
        self.factories.push(Arc::new(move |info| Box::new(Mount::new(route, factory(info)))));
        route
    }
}

impl ServerBuilder {
    /// Mounts a handler at a path; several with states of different types may stand side by side.
    /// `{name}` in the path stands for one segment or a part of it, `{*name}` at its end for all
    /// that follows; [`Request::param`](crate::http::Request::param) tells what stood there. A
    /// fixed segment goes before a parameter. Paths are compared decoded; see
    /// [`Request::path`](crate::http::Request::path). A request for any other path is answered 404.
    ///
    /// ```no_run
    /// # use ringsock::{Conn, Handler, Message, Server, Text, Upgrade};
    /// # use ringsock::http::{Page, Request};
    /// struct Chat;
    /// impl Handler for Chat {
    ///     type State = String;
    ///     fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<String> {
    ///         Upgrade::accept(request.param("room").unwrap_or_default().to_owned())
    ///     }
    ///     fn on_message(&mut self, conn: &mut Conn<'_, String>, message: Message<'_>) {
    ///         let room = conn.state().clone();
    ///         conn.publish(&room, message);
    ///     }
    /// }
    ///
    /// struct Clock;
    /// impl Handler for Clock {
    ///     type State = ();
    ///     fn on_message(&mut self, conn: &mut Conn<'_, ()>, _message: Message<'_>) {
    ///         conn.send(Text(format!("{:?}", std::time::SystemTime::now())));
    ///     }
    /// }
    ///
    /// fn main() -> ringsock::Result<()> {
    ///     Server::builder()
    ///         .listen("127.0.0.1:9001")?
    ///         .route("/chat/{room}", |_shard| Chat)
    ///         .route("/clock", |_shard| Clock)
    ///         .page("/", Page::html("<h1>hello</h1>"))
    ///         .run()
    /// }
    /// ```
    ///
    /// A path that is none, or that another route has already, is a [`SetupError::BadPath`] when
    /// the server is started.
    pub fn route<H, F>(mut self, path: &str, factory: F) -> Self
    where
        H: Handler,
        F: Fn(ShardInfo) -> H + Send + Sync + 'static,
    {
        let route = self.routes.add(factory);
        let outcome = self.site.add_route(path, route);
        self.routes.note(outcome);
        self
    }

    /// Answers plain GET and HEAD requests for this path. A handler may be mounted at the same
    /// path.
    pub fn page(mut self, path: impl Into<String>, page: Page) -> Self {
        let outcome = self.site.add_page(path.into(), page);
        self.routes.note(outcome);
        self
    }

    /// Answers `ok` to plain requests for this path for as long as the server accepts connections.
    /// Policies are not asked: a load balancer seldom knows a host name or a password.
    pub fn health(mut self, path: impl Into<String>) -> Self {
        let outcome = self.site.add_health(path.into());
        self.routes.note(outcome);
        self
    }

    /// Asks this [`Policy`] about every request, after those that were given before.
    pub fn policy(mut self, policy: impl Policy) -> Self {
        let outcome = self.site.add_policy(None, Box::new(policy));
        self.routes.note(outcome);
        self
    }

    /// Asks this [`Policy`] about requests for the paths that match. They look like those of a
    /// [`route`](Self::route), and nothing slips past them; see [`Paths`](crate::policy::Paths).
    pub fn policy_at(mut self, path: &str, policy: impl Policy) -> Self {
        let outcome = self.site.add_policy(Some(path), Box::new(policy));
        self.routes.note(outcome);
        self
    }

    /// Believes these proxies when they say whom they speak for; see [`TrustedProxies`]. Default:
    /// nobody.
    pub fn trusted_proxies(mut self, proxies: TrustedProxies) -> Self {
        self.site.trust(proxies);
        self
    }

    /// Starts the shards and returns when all of them serve. `factory` is called on each shard's
    /// own thread, so what it makes needs neither `Send` nor `Sync`. Its handler takes every path
    /// that no [`route`](Self::route) has.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn start<H, F>(mut self, factory: F) -> Result<Running>
    where
        H: Handler,
        F: Fn(ShardInfo) -> H + Send + Sync + 'static,
    {
        if self.routes.factories.is_empty() {
            self.check_paths()?;
            return self.start_shards(factory);
        }
        let fallback = self.routes.add(factory);
        self.start_with_fallback(Some(fallback))
    }

    /// As [`start`](Self::start), with nothing but the routes and pages.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn start_routes(self) -> Result<Running> {
        self.start_with_fallback(None)
    }

    /// Starts, and serves until SIGTERM or SIGINT has drained the server: no more connections are
    /// accepted, open ones are closed with 1001. A second signal ends it at once.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn serve<H, F>(self, factory: F) -> Result<()>
    where
        H: Handler,
        F: Fn(ShardInfo) -> H + Send + Sync + 'static,
    {
        self.serve_with(|server| server.start(factory))
    }

    /// As [`serve`](Self::serve), with nothing but the routes and pages.
    ///
    /// # Errors
    /// [`SetupError`].
    pub fn run(self) -> Result<()> {
        self.serve_with(Self::start_routes)
    }

    fn start_with_fallback(mut self, fallback: Option<u16>) -> Result<Running> {
        self.check_paths()?;
        self.site.route_everything(fallback);
        let factories = std::mem::take(&mut self.routes.factories);
        self.start_shards(move |info| {
            RoutedHandler::new(factories.iter().map(|factory| factory(info)).collect())
        })
    }

    pub(super) fn check_paths(&self) -> Result<()> {
        self.routes.wrong.clone().map_or(Ok(()), |reason| Err(SetupError::BadPath(reason)))
    }
}
