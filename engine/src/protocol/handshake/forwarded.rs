//! Addresses in `X-Forwarded-For` and `Forwarded` (RFC 7239). Whether any of it may be believed is
//! for others to say.

use std::net::{IpAddr, SocketAddr};

use super::request::Request;

/// Which header a proxy appends the client's address to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`: addresses between commas.
    XForwardedFor,
    /// `Forwarded` (RFC 7239): pairs, of which `for` is the address.
    Forwarded,
}

impl Request<'_> {
    /// What the header says about each hop, the nearest first; `None` for one whose address is
    /// hidden or is none. An address without a port has port 0.
    pub fn forwarded(&self, header: ForwardedHeader) -> Vec<Option<SocketAddr>> {
        let (name, read): (_, fn(&str) -> Option<SocketAddr>) = match header {
            ForwardedHeader::XForwardedFor => ("x-forwarded-for", address),
            ForwardedHeader::Forwarded => ("forwarded", forwarded_for),
        };
        let lines = self.values(name).map(|line| std::str::from_utf8(line).unwrap_or("?"));
        let mut hops: Vec<_> = lines.flat_map(elements).map(read).collect();
        hops.reverse();
        hops
    }
}

/// The parts between commas that are not within quotes.
fn elements(line: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    line.split(move |c: char| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
}

/// The address of the `for` parameter, in any case, quoted or not.
fn forwarded_for(element: &str) -> Option<SocketAddr> {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    let value = value.trim();
    address(value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value))
}

/// An address in any of the forms that proxies write: with a port or without, with brackets or
/// without.
fn address(text: &str) -> Option<SocketAddr> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let found = match bare.parse::<IpAddr>() {
        Ok(address) => SocketAddr::new(address, 0),
        Err(_) => text.parse().ok()?,
    };
    Some(SocketAddr::new(found.ip().to_canonical(), found.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_every_form_proxies_write() {
        for (text, expected) in [
            ("192.0.2.7", Some("192.0.2.7:0")),
            (" 192.0.2.7:80 ", Some("192.0.2.7:80")),
            ("2001:db8::7", Some("[2001:db8::7]:0")),
            ("[2001:db8::7]", Some("[2001:db8::7]:0")),
            ("[2001:db8::7]:80", Some("[2001:db8::7]:80")),
            ("::ffff:192.0.2.7", Some("192.0.2.7:0")),
            ("", None),
            ("unknown", None),
            ("_hidden", None),
            ("[192.0.2.7", None),
            ("192.0.2.7:80:80", None),
        ] {
            assert_eq!(address(text), expected.map(|text| text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn the_for_parameter_is_found_among_others() {
        for (text, expected) in [
            ("for=192.0.2.7", Some("192.0.2.7:0")),
            ("proto=http; For=\"[2001:db8::7]:80\";by=x", Some("[2001:db8::7]:80")),
            ("for=_hidden", None),
            ("by=192.0.2.7", None),
            ("for", None),
        ] {
            assert_eq!(forwarded_for(text), expected.map(|text| text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn a_comma_within_quotes_divides_nothing() {
        let parts: Vec<_> = elements("a=\"x,y\", b,,c").collect();
        assert_eq!(parts, ["a=\"x,y\"", " b", "", "c"]);
    }
}
