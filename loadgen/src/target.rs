//! The server under load: its address, resolved once, and the requests that open connections to
//! it. Nothing is connected here.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};

use ringsock::OutboundRequest;
use ringsock::connection::ClientHandshake;
use ringsock::protocol::handshake::{ClientRequest, WebSocketUrl};

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
    trust_peer: bool,
}

impl Target {
    /// Reads `ws://HOST:PORT/PATH` and looks the host up. With `trust_peer` the answer to the
    /// handshake is not verified.
    pub(crate) fn parse(text: &str, trust_peer: bool) -> Result<Self, Failure> {
        let url = WebSocketUrl::parse(text).map_err(|error| Failure::usage(error.to_string()))?;
        if url.secure {
            return Err(Failure::usage(format!("{url}: TLS is not spoken: give a ws:// address")));
        }
        let unresolved = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), url.port);
        let mut target = Self { url, address: unresolved, trust_peer };
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

    /// Host and port, as errors name them.
    pub(crate) fn endpoint(&self) -> String {
        match self.url.host.contains(':') {
            true => format!("[{}]:{}", self.url.host, self.url.port),
            false => format!("{}:{}", self.url.host, self.url.port),
        }
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
        self.request_from(number / CONNECTIONS_PER_SOURCE)
    }

    /// The request for connection `number` of many that are short.
    pub(crate) fn short_request(&self, number: usize) -> Result<OutboundRequest, Failure> {
        self.request_from(number % SOURCES_OF_SHORT)
    }

    fn request_from(&self, source: usize) -> Result<OutboundRequest, Failure> {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::of_server(self, Phase::Handshake, &error.to_string())
        };
        let request = ClientRequest::new(&self.url).map_err(|error| failed(&error))?;
        let handshake = ClientHandshake::new(request).map_err(|error| failed(&error))?;
        let handshake = if self.trust_peer { handshake.without_verification() } else { handshake };
        Ok(OutboundRequest { address: self.address, source: self.source(source), handshake })
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
        let target = Target::parse("ws://127.0.0.1:9001/chat", false).unwrap();
        let source = |number| target.request(number).unwrap().source;
        assert_eq!(source(14_999), None);
        assert_eq!(source(15_000), Some("127.0.0.2".parse().unwrap()));
        assert_eq!(source(45_000), Some("127.0.0.4".parse().unwrap()));
        assert_eq!(target.short_request(3).unwrap().source, Some("127.0.0.4".parse().unwrap()));
        let elsewhere = Target::parse("ws://192.0.2.1/", false).unwrap();
        assert_eq!(elsewhere.request(45_000).unwrap().source, None);
    }

    #[test]
    fn another_path_keeps_the_server() {
        let target = Target::parse("ws://127.0.0.1:9001/", false).unwrap();
        assert_eq!(target.at("/runCase?case=1").url(), "ws://127.0.0.1:9001/runCase?case=1");
        assert_eq!(target.endpoint(), "127.0.0.1:9001");
    }

    #[test]
    fn what_cannot_be_spoken_or_found_is_refused_with_its_phase() {
        let error = |text| Target::parse(text, false).unwrap_err();
        assert!(error("http://h/").to_string().contains("neither ws nor wss"));
        assert!(error("wss://127.0.0.1/").to_string().contains("TLS"));
        let unknown = error("ws://no-such-host.invalid:9001/");
        assert!(
            unknown.to_string().starts_with("no-such-host.invalid:9001: resolve: "),
            "{unknown}"
        );
        assert_eq!(unknown.exit_code(), 2);
    }
}
