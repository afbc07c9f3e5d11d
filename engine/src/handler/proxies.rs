//! Who may speak for others: the networks whose PROXY header or forwarding header is believed. It
//! reads no socket; addresses are given to it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use super::setting::BadSetting;
use crate::protocol::handshake::{ForwardedHeader, Request};

/// Whom a connection comes from, as its socket has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Neighbour {
    Address(SocketAddr),
    /// A process of this machine.
    Unix,
}

/// Proxies whose word about the client's address is taken. From anybody else a PROXY header is an
/// error, and forwarding headers are what any client may make up.
///
/// ```no_run
/// # use ringsock::{Conn, Handler, Message, Server};
/// # use ringsock::server::TrustedProxies;
/// # struct Echo;
/// # impl Handler for Echo {
/// #     type State = ();
/// #     fn on_message(&mut self, _: &mut Conn<'_, ()>, _: Message<'_>) {}
/// # }
/// # fn main() -> ringsock::Result<()> {
/// Server::builder()
///     .listen("0.0.0.0:9001")?
///     .trusted_proxies(TrustedProxies::new(["10.1.0.0/16", "::1"])?.proxy_protocol())
///     .serve(|_shard| Echo)
/// # }
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    unix: bool,
    proxy_protocol: bool,
    header: Option<ForwardedHeader>,
}

impl fmt::Debug for TrustedProxies {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TrustedProxies")
            .field("networks", &self.networks)
            .field("unix", &self.unix)
            .field("proxy_protocol", &self.proxy_protocol)
            .field("header", &self.header)
            .finish()
    }
}

impl TrustedProxies {
    /// Proxies in these networks, as `10.1.0.0/16`, `2001:db8::/32` or a single address; `unix` for
    /// those that come by a Unix socket. What they send is not looked at until one of the methods
    /// below says in which form they tell the client's address.
    ///
    /// # Errors
    /// The first text that is no network.
    pub fn new<T: AsRef<str>>(networks: impl IntoIterator<Item = T>) -> Result<Self, BadSetting> {
        let mut proxies = Self::default();
        for text in networks {
            let text = text.as_ref();
            let single = || text.parse::<IpAddr>().ok().map(IpNet::from);
            match text.parse::<IpNet>().ok().or_else(single) {
                Some(network) => proxies.networks.push(network),
                None if text == "unix" => proxies.unix = true,
                None => {
                    return Err(BadSetting::new(format!(
                        "'{text}' is no network: give 10.1.0.0/16, 2001:db8::/32, ::1 or unix"
                    )));
                }
            }
        }
        Ok(proxies)
    }

    /// Each connection from them must begin with a PROXY header, version 1 or 2; the connection is
    /// closed without a word if it does not.
    #[must_use]
    pub fn proxy_protocol(mut self) -> Self {
        self.proxy_protocol = true;
        self
    }

    /// They append the address of whoever they speak for to `X-Forwarded-For`. It is read from its
    /// end; the first address that is none of theirs is the client's.
    #[must_use]
    pub fn x_forwarded_for(mut self) -> Self {
        self.header = Some(ForwardedHeader::XForwardedFor);
        self
    }

    /// As [`x_forwarded_for`](Self::x_forwarded_for), with `Forwarded` (RFC 7239). Only one of the
    /// two is read: a proxy that writes one passes on what a client wrote into the other.
    #[must_use]
    pub fn forwarded(mut self) -> Self {
        self.header = Some(ForwardedHeader::Forwarded);
        self
    }

    /// Whether anybody is to begin with a PROXY header.
    pub(crate) fn speak_proxy_protocol(&self) -> bool {
        self.proxy_protocol
    }

    /// Whether a header may tell the client's address.
    pub(crate) fn write_headers(&self) -> bool {
        self.header.is_some()
    }

    pub(crate) fn include(&self, neighbour: Neighbour) -> bool {
        match neighbour {
            Neighbour::Address(address) => self.include_address(address.ip()),
            Neighbour::Unix => self.unix,
        }
    }

    fn include_address(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// The client's address by the header of a request that came from one of them. A hop that hides
    /// its address ends the search: what stands before it is hearsay.
    pub(crate) fn client_of(&self, request: &Request<'_>) -> Option<SocketAddr> {
        let mut client = None;
        for hop in request.forwarded(self.header?) {
            let address = hop?;
            client = Some(address);
            if !self.include_address(address.ip()) {
                break;
            }
        }
        client
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::handshake::{HandshakeLimits, HeaderStorage};

    #[test]
    fn networks_are_read_and_what_is_none_is_named() {
        let proxies = TrustedProxies::new(["10.1.0.0/16", "::1", "unix"]).unwrap();
        let address = |text: &str| Neighbour::Address(text.parse().unwrap());
        for (neighbour, trusted) in [
            (address("10.1.2.3:4"), true),
            (address("[::ffff:10.1.2.3]:4"), true),
            (address("10.2.0.1:4"), false),
            (address("[::1]:4"), true),
            (address("[::2]:4"), false),
            (Neighbour::Unix, true),
        ] {
            assert_eq!(proxies.include(neighbour), trusted, "{neighbour:?}");
        }
        assert!(!TrustedProxies::default().include(Neighbour::Unix));
        for bad in ["", "10.0.0.0/33", "localhost", "10.0.0.0/8,::1"] {
            let error = TrustedProxies::new([bad]).unwrap_err().to_string();
            assert!(error.contains(&format!("'{bad}'")), "{error}");
        }
    }

    #[test]
    fn the_last_address_that_is_no_proxy_is_the_client() {
        let proxies = TrustedProxies::new(["10.0.0.0/8"]).unwrap();
        let by_list = proxies.clone().x_forwarded_for();
        let by_pairs = proxies.forwarded();
        for (proxies, headers, expected) in [
            (&by_list, "X-Forwarded-For: 192.0.2.1", Some("192.0.2.1:0")),
            (&by_list, "X-Forwarded-For: 6.6.6.6, 192.0.2.1, 10.0.0.2", Some("192.0.2.1:0")),
            (
                &by_list,
                "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 192.0.2.1",
                Some("192.0.2.1:0"),
            ),
            (&by_list, "X-Forwarded-For: 10.0.0.9, 10.0.0.2", Some("10.0.0.9:0")),
            (&by_list, "X-Forwarded-For: 6.6.6.6, unknown", None),
            (&by_list, "X-Forwarded-For: 6.6.6.6, unknown, 10.0.0.2", None),
            (&by_list, "X-Forwarded-For:", None),
            (&by_list, "X-Forwarded-For: ,,", None),
            (&by_list, "Forwarded: for=6.6.6.6", None),
            (&by_pairs, "X-Forwarded-For: 6.6.6.6", None),
            (
                &by_pairs,
                "Forwarded: for=6.6.6.6, for=\"[2001:db8::7]:4711\"",
                Some("[2001:db8::7]:4711"),
            ),
        ] {
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n");
            let mut storage = HeaderStorage::new();
            let limits = HandshakeLimits::default();
            let request = Request::parse(head.as_bytes(), &mut storage, &limits).unwrap();
            let expected = expected.map(|text| text.parse().unwrap());
            assert_eq!(proxies.client_of(&request), expected, "{headers}");
        }
    }
}
