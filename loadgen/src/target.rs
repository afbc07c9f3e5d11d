//! The server under load: its address, resolved once, and the requests that open connections to
//! it: the one place where a target becomes a connection. Nothing is connected here.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

use ringsock::Deflate;
use ringsock::client::OutboundRequest;
use ringsock::connection::ClientHandshake;
use ringsock::protocol::handshake::{ClientRequest, WebSocketUrl};
use ringsock::tls::ClientTls;

use crate::failure::{Failure, Phase};

/// Connections that stay open from one source address: an address has some 28,000 ports to give,
/// and picking a free one becomes slow when most are taken.
const CONNECTIONS_PER_SOURCE: usize = 15_000;
/// Source addresses that short connections take turns with, so that ports that wait for late
/// segments are not needed again at once.
const SOURCES_OF_SHORT: usize = 64;

/// Where connections go.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    url: WebSocketUrl,
    address: SocketAddr,
    trust: Trust,
    greeting: Greeting,
    tls: Option<ClientTls>,
}

/// What is taken on trust.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Trust {
    #[default]
    Nothing,
    /// The certificate.
    Certificate,
    /// The certificate and the answer to the handshake.
    Everything,
}

/// What handshakes say besides the address.
#[derive(Clone, Debug, Default)]
pub(crate) struct Greeting {
    /// Header lines; `{connection}` and `{token}` are replaced.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) subprotocols: Vec<String>,
    /// The compression to offer.
    pub(crate) deflate: Option<Deflate>,
    /// Taken in turns. Where nothing says `{token}` they are sent as bearer tokens.
    pub(crate) tokens: Vec<String>,
}

impl Greeting {
    /// Adapts the request of connection `number`.
    fn apply(&self, request: &mut ClientRequest, number: usize) {
        let token = self.tokens.get(number % self.tokens.len().max(1));
        let token_text = token.map_or("", String::as_str);
        let fill = |text: &str| {
            text.replace("{connection}", &number.to_string()).replace("{token}", token_text)
        };
        let mentioned = request.target.contains("{token}")
            || self.headers.iter().any(|(_, value)| value.contains("{token}"));
        request.target = fill(&request.target);
        request.subprotocols.clone_from(&self.subprotocols);
        request.deflate = self.deflate;
        let headers = self.headers.iter().map(|(name, value)| (name.clone(), fill(value)));
        request.headers.extend(headers);
        if let (Some(token), false) = (token, mentioned) {
            request.headers.push(("Authorization".to_owned(), format!("Bearer {token}")));
        }
    }
}

impl Target {
    /// Reads `ws://HOST:PORT/PATH` (or `wss://`) and looks the host up.
    pub(crate) fn parse(text: &str, trust: Trust, greeting: Greeting) -> Result<Self, Failure> {
        let url = WebSocketUrl::parse(text).map_err(|error| Failure::usage(error.to_string()))?;
        let tls = match (url.secure, trust) {
            (false, _) => None,
            (true, Trust::Nothing) => Some(ClientTls::system_roots()),
            (true, Trust::Certificate | Trust::Everything) => Some(ClientTls::insecure()),
        };
        let tls = tls.transpose().map_err(|error| Failure::usage(error.to_string()))?;
        let unresolved = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), url.port);
        let mut target = Self { url, address: unresolved, trust, greeting, tls };
        let found = (target.url.host.as_str(), target.url.port).to_socket_addrs();
        let found = found.map(|mut addresses| addresses.next());
        target.address = match found {
            Ok(Some(address)) => address,
            Ok(None) => {
                return Err(Failure::of_server(&target, Phase::Resolve, "the name has no address"));
            }
            Err(error) => {
                return Err(Failure::of_server(&target, Phase::Resolve, &error.to_string()));
            }
        };
        Ok(target)
    }

    /// Where the host was found.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Host and port, as errors name them.
    pub(crate) fn endpoint(&self) -> String {
        match self.url.host.contains(':') {
            true => format!("[{}]:{}", self.url.host, self.url.port),
            false => format!("{}:{}", self.url.host, self.url.port),
        }
    }

    /// Whether connections ask to compress.
    pub(crate) fn offers_deflate(&self) -> bool {
        self.greeting.deflate.is_some()
    }

    /// Whether connections offer subprotocols.
    pub(crate) fn offers_subprotocols(&self) -> bool {
        !self.greeting.subprotocols.is_empty()
    }

    /// The address as given.
    pub(crate) fn url(&self) -> String {
        self.url.to_string()
    }

    /// The same server at another path and query.
    pub(crate) fn at(&self, path_and_query: &str) -> Self {
        let mut other = self.clone();
        other.url.target = path_and_query.to_owned();
        other
    }

    /// The request for connection `number`, one that stays.
    pub(crate) fn request(&self, number: usize) -> Result<OutboundRequest, Failure> {
        self.request_from(number, number / CONNECTIONS_PER_SOURCE)
    }

    /// The request for connection `number` of many that are short.
    pub(crate) fn short_request(&self, number: usize) -> Result<OutboundRequest, Failure> {
        self.request_from(number, number % SOURCES_OF_SHORT)
    }

    fn request_from(&self, number: usize, source: usize) -> Result<OutboundRequest, Failure> {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::of_server(self, Phase::Handshake, &error.to_string())
        };
        let request = self.client_request(number)?;
        let handshake = ClientHandshake::new(request).map_err(|error| failed(&error))?;
        let handshake = match self.trust {
            Trust::Everything => handshake.without_verification(),
            Trust::Nothing | Trust::Certificate => handshake,
        };
        let handshake = match &self.tls {
            None => handshake,
            Some(tls) => handshake.over_tls(tls, &self.url.host).map_err(|error| failed(&error))?,
        };
        Ok(OutboundRequest { address: self.address, source: self.source(source), handshake })
    }

    fn client_request(&self, number: usize) -> Result<ClientRequest, Failure> {
        let mut request = ClientRequest::new(&self.url)
            .map_err(|error| Failure::of_server(self, Phase::Handshake, &error.to_string()))?;
        self.greeting.apply(&mut request, number);
        Ok(request)
    }

    /// The local address with this number, counted from 127.0.0.1. Only loopback has others to
    /// choose from without asking anybody; the first is the system's own choice.
    fn source(&self, number: usize) -> Option<IpAddr> {
        let loopback = matches!(self.address.ip(), IpAddr::V4(address) if address.is_loopback());
        if !loopback || number == 0 {
            return None;
        }
        let first = u32::from(Ipv4Addr::LOCALHOST);
        Some(Ipv4Addr::from(first + u32::try_from(number).ok()?).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_spread_over_loopback_only() {
        let target =
            Target::parse("ws://127.0.0.1:9001/chat", Trust::Nothing, Greeting::default()).unwrap();
        let source = |number| target.request(number).unwrap().source;
        assert_eq!(source(14_999), None);
        assert_eq!(source(15_000), Some("127.0.0.2".parse().unwrap()));
        assert_eq!(source(45_000), Some("127.0.0.4".parse().unwrap()));
        assert_eq!(target.short_request(3).unwrap().source, Some("127.0.0.4".parse().unwrap()));
        let elsewhere =
            Target::parse("ws://192.0.2.1/", Trust::Nothing, Greeting::default()).unwrap();
        assert_eq!(elsewhere.request(45_000).unwrap().source, None);
    }

    #[test]
    fn a_greeting_names_the_connection_and_takes_tokens_in_turns() {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let url = WebSocketUrl::parse("ws://h/chat?user={connection}").unwrap();
        let greeted = |headers: &[(String, String)], number| {
            let tokens = vec!["one".to_owned(), "two".to_owned()];
            let (headers, subprotocols) = (headers.to_vec(), vec!["v1".to_owned()]);
            let mut request = ClientRequest::new(&url).unwrap();
            Greeting { headers, subprotocols, tokens, deflate: None }.apply(&mut request, number);
            request
        };
        let request = greeted(&[], 3);
        assert_eq!(
            (request.target.as_str(), &request.subprotocols[..]),
            ("/chat?user=3", &["v1".to_owned()][..])
        );
        assert_eq!(request.headers, [header("Authorization", "Bearer two")]);
        let request = greeted(&[header("X-Key", "{token}-{connection}")], 4);
        assert_eq!(request.headers, [header("X-Key", "one-4")]);
    }

    #[test]
    fn another_path_keeps_the_server() {
        let target =
            Target::parse("ws://127.0.0.1:9001/", Trust::Nothing, Greeting::default()).unwrap();
        assert_eq!(target.at("/runCase?case=1").url(), "ws://127.0.0.1:9001/runCase?case=1");
        assert_eq!(target.endpoint(), "127.0.0.1:9001");
    }

    #[test]
    fn what_cannot_be_spoken_or_found_is_refused_with_its_phase() {
        let error = |text| Target::parse(text, Trust::Nothing, Greeting::default()).unwrap_err();
        assert!(error("http://h/").to_string().contains("neither ws nor wss"));
        let unknown = error("ws://no-such-host.invalid:9001/");
        assert!(
            unknown.to_string().starts_with("no-such-host.invalid:9001: resolve: "),
            "{unknown}"
        );
        assert_eq!(unknown.exit_code(), 2);
    }
}
