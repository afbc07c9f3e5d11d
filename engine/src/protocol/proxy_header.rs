//! The PROXY protocol's header, versions 1 and 2, by which a load balancer says whom it speaks for.
//! Nothing here decides who may send one: whoever believes a stranger's header lets that stranger
//! choose an address. What a version 2 header says beyond the addresses is checked for its form and
//! passed over; its checksum is not computed.
#![forbid(unsafe_code)]

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The longest version 1 header, line end included.
const TEXT_BYTES_MAX: usize = 107;
const TEXT_START: &[u8] = b"PROXY ";
/// What version 2 begins with: no method of HTTP looks like it.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and transport, length of the rest.
const FIXED_BYTES: usize = 16;

/// Why a header is not one. There is no answer to it: the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadProxyHeader(&'static str);

impl fmt::Display for BadProxyHeader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "not a PROXY header: {}", self.0)
    }
}

impl std::error::Error for BadProxyHeader {}

/// A header that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// The client's address; `None` when the proxy speaks for itself, as in its health checks, or
    /// does not know an internet address.
    pub client: Option<SocketAddr>,
    /// How long the header was; what follows is the client's.
    pub bytes: usize,
}

impl ProxyHeader {
    /// Reads the header that `received` begins with. `None`: so far it is one, and it goes on.
    ///
    /// # Errors
    /// As soon as the bytes cannot become a header of at most `bytes_max` bytes.
    ///
    /// ```
    /// use ringsock::protocol::ProxyHeader;
    ///
    /// let received = b"PROXY TCP4 192.0.2.7 198.51.100.1 51000 443\r\nGET /";
    /// let header = ProxyHeader::parse(received, 1024)?.expect("a whole header");
    /// assert_eq!(header.client, Some("192.0.2.7:51000".parse().unwrap()));
    /// assert_eq!(&received[header.bytes..], b"GET /");
    /// # Ok::<(), ringsock::protocol::BadProxyHeader>(())
    /// ```
    pub fn parse(received: &[u8], bytes_max: usize) -> Result<Option<Self>, BadProxyHeader> {
        match received.first() {
            None => Ok(None),
            Some(b'P') => parse_text(received),
            Some(_) => parse_binary(received, bytes_max),
        }
    }
}

fn bad<T>(why: &'static str) -> Result<T, BadProxyHeader> {
    Err(BadProxyHeader(why))
}

/// Whether all there is of `expected` is there; `None` while it may still come.
fn begins_with(received: &[u8], expected: &[u8]) -> Option<bool> {
    let common = received.len().min(expected.len());
    match received[..common] == expected[..common] {
        false => Some(false),
        true => (common == expected.len()).then_some(true),
    }
}

fn parse_text(received: &[u8]) -> Result<Option<ProxyHeader>, BadProxyHeader> {
    match begins_with(received, TEXT_START) {
        None => return Ok(None),
        Some(false) => return bad("it does not begin with PROXY"),
        Some(true) => {}
    }
    let window = &received[..received.len().min(TEXT_BYTES_MAX)];
    let line_feed = window.iter().position(|byte| *byte == b'\n');
    let line = &window[..line_feed.unwrap_or(window.len())];
    let bare = line.strip_suffix(b"\r");
    if !bare.unwrap_or(line).iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return bad("a character does not belong in the line");
    }
    let Some(line_bytes) = line_feed else {
        return match window.len() {
            TEXT_BYTES_MAX => bad("the line is longer than 107 bytes"),
            _ => Ok(None),
        };
    };
    let line = bare.and_then(|line| line.get(TEXT_START.len()..));
    let Some(line) = line.and_then(|line| std::str::from_utf8(line).ok()) else {
        return bad("the line does not end in CR, LF");
    };
    let client = if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        None
    } else {
        Some(
            text_client(line)
                .ok_or(BadProxyHeader("the line is not TCP4 or TCP6 and addresses"))?,
        )
    };
    Ok(Some(ProxyHeader { client, bytes: line_bytes + 1 }))
}

/// The client of `TCP4 source destination port port`.
fn text_client(line: &str) -> Option<SocketAddr> {
    let mut words = line.split(' ');
    let family = words.next()?;
    let mut address = || -> Option<IpAddr> {
        let text = words.next()?;
        match family {
            "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
            "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let (client, _server) = (address()?, address()?);
    let mut port = || {
        let text = words.next()?;
        let plain = text == "0" || !text.starts_with(['0', '+']);
        text.parse::<u16>().ok().filter(|_| plain)
    };
    let (client_port, _server_port) = (port()?, port()?);
    words.next().is_none().then(|| SocketAddr::new(client.to_canonical(), client_port))
}

fn parse_binary(received: &[u8], bytes_max: usize) -> Result<Option<ProxyHeader>, BadProxyHeader> {
    match begins_with(received, SIGNATURE) {
        None => return Ok(None),
        Some(false) => return bad("it begins with neither version's signature"),
        Some(true) => {}
    }
    if received.get(12).is_some_and(|byte| !matches!(byte, 0x20 | 0x21)) {
        return bad("the version is not 2, or the command neither LOCAL nor PROXY");
    }
    let local = received.get(12) == Some(&0x20);
    if !local && received.get(13).is_some_and(|byte| !matches!(byte, 0 | 0x11 | 0x21 | 0x31)) {
        return bad("the family is not that of a stream");
    }
    let Some((fixed, rest)) = received.split_first_chunk::<FIXED_BYTES>() else { return Ok(None) };
    let rest_bytes = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if FIXED_BYTES + rest_bytes > bytes_max {
        return bad("it is longer than the limit");
    }
    // How long the two addresses are together.
    let address_bytes = match fixed[13] {
        _ if local => 0,
        0x11 => 12,
        0x21 => 36,
        0x31 => 216,
        _ => 0,
    };
    if rest_bytes < address_bytes {
        return bad("it is too short for its addresses");
    }
    let Some(rest) = rest.get(..rest_bytes) else { return Ok(None) };
    if !local && fixed[13] != 0 {
        check_extras(&rest[address_bytes..])?;
    }
    let client = match (fixed[13], rest) {
        _ if local => None,
        (0x11, &[a, b, c, d, _, _, _, _, high, low, ..]) => {
            Some(SocketAddr::new(Ipv4Addr::new(a, b, c, d).into(), u16::from_be_bytes([high, low])))
        }
        (0x21, rest) => rest.first_chunk::<16>().map(|address| {
            let port = u16::from_be_bytes([rest[32], rest[33]]);
            SocketAddr::new(IpAddr::from(*address).to_canonical(), port)
        }),
        _ => None,
    };
    Ok(Some(ProxyHeader { client, bytes: FIXED_BYTES + rest_bytes }))
}

/// Behind the addresses: a type, a length of two bytes, as many bytes, and again.
fn check_extras(mut rest: &[u8]) -> Result<(), BadProxyHeader> {
    while let Some((head, after)) = rest.split_first_chunk::<3>() {
        let length = usize::from(u16::from_be_bytes([head[1], head[2]]));
        match after.get(length..) {
            Some(next) => rest = next,
            None => return bad("an extra field is longer than what is left"),
        }
    }
    if rest.is_empty() { Ok(()) } else { bad("an extra field is cut off") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A version 2 header with this command, family and rest.
    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = (rest.len() as u16).to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    const FOUR: &[u8] = &[192, 0, 2, 7, 198, 51, 100, 1, 0xc7, 0x38, 1, 0xbb];

    fn six() -> Vec<u8> {
        let address = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets();
        let mut rest = [address("2001:db8::7"), address("2001:db8::1")].concat();
        rest.extend([0xc7, 0x38, 1, 0xbb]);
        rest
    }

    fn good() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let extras = [FOUR, &[4, 0, 2, 0, 0, 0xe0, 0, 0]].concat();
        let mapped = [&[0; 10][..], &[0xff, 0xff, 192, 0, 2, 7], &[0; 16], &[0, 80, 0, 1]].concat();
        let text = |line: &str| line.as_bytes().to_vec();
        vec![
            (text("PROXY TCP4 192.0.2.7 198.51.100.1 51000 443\r\n"), Some("192.0.2.7:51000")),
            (text("PROXY TCP6 2001:db8::7 ::1 0 65535\r\n"), Some("[2001:db8::7]:0")),
            (text("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n"), Some("192.0.2.7:1")),
            (text("PROXY UNKNOWN\r\n"), None),
            (text("PROXY UNKNOWN anything at all\r\n"), None),
            (binary(0x21, 0x11, FOUR), Some("192.0.2.7:51000")),
            (binary(0x21, 0x11, &extras), Some("192.0.2.7:51000")),
            (binary(0x21, 0x21, &six()), Some("[2001:db8::7]:51000")),
            (binary(0x21, 0x21, &mapped), Some("192.0.2.7:80")),
            (binary(0x21, 0x31, &[0; 216]), None),
            (binary(0x21, 0x00, b"whatever"), None),
            (binary(0x20, 0x00, &[]), None),
            (binary(0x20, 0x11, FOUR), None),
            (binary(0x20, 0xff, b"passed over"), None),
        ]
    }

    #[test]
    fn headers_of_both_versions_are_read_at_every_split() {
        for (header, client) in good() {
            let client = client.map(|text| text.parse().unwrap());
            let whole = ProxyHeader { client, bytes: header.len() };
            assert_eq!(ProxyHeader::parse(&header, 1024), Ok(Some(whole)), "{header:?}");
            let followed = [&header[..], b"GET / HTTP/1.1"].concat();
            assert_eq!(ProxyHeader::parse(&followed, 1024), Ok(Some(whole)), "{header:?}");
            for cut in 0..header.len() {
                assert_eq!(ProxyHeader::parse(&header[..cut], 1024), Ok(None), "{header:?} {cut}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        let text = |line: &str| line.as_bytes().to_vec();
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        let mut rows = vec![
            text("GET / HTTP/1.1\r\n"),
            text("POST / HTTP/1.1\r\n"),
            text("PROXY\r\n"),
            text("PROXY TCP4 192.0.2.7 198.51.100.1 51000 443\n"),
            text("PROXY TCP4 192.0.2.7 198.51.100.1 51000\r\n"),
            text("PROXY TCP4 192.0.2.7 198.51.100.1 51000 443 1\r\n"),
            text("PROXY TCP4  192.0.2.7 198.51.100.1 51000 443\r\n"),
            text("PROXY TCP4 192.0.2.07 198.51.100.1 51000 443\r\n"),
            text("PROXY TCP4 ::1 ::1 51000 443\r\n"),
            text("PROXY TCP4 192.0.2.7 198.51.100.1 65536 443\r\n"),
            text("PROXY TCP4 192.0.2.7 198.51.100.1 +1 443\r\n"),
            text("PROXY TCP4 192.0.2.7 198.51.100.1 01 443\r\n"),
            text("PROXY TCP5 192.0.2.7 198.51.100.1 1 443\r\n"),
            text("PROXY UNKNOWNS\r\n"),
            text("PROXY \0"),
            text("PROXY UNKNOWN a\x18b\r\n"),
            text("PROXY UNKNOWN a\rb"),
            long.into_bytes(),
            text("\r\n\r\nGET"),
            text("\x16\x03\x01"),
            binary(0x11, 0x11, FOUR),
            binary(0x22, 0x11, FOUR),
            binary(0x21, 0x12, FOUR),
            binary(0x21, 0x41, FOUR),
            binary(0x21, 0x11, &FOUR[..11]),
            binary(0x21, 0x21, FOUR),
            binary(0x21, 0x31, &[0; 215]),
            binary(0x21, 0x11, &[FOUR, &[4]].concat()),
            binary(0x21, 0x11, &[FOUR, &[4, 0, 2, 0]].concat()),
            binary(0x21, 0x00, &[0; 1009]),
        ];
        for row in &mut rows {
            assert!(ProxyHeader::parse(row, 1024).is_err(), "{:?}", String::from_utf8_lossy(row));
        }
        assert!(ProxyHeader::parse(&binary(0x21, 0x00, &[0; 1008]), 1024).is_ok());
    }

    #[test]
    fn an_end_too_far_away_is_not_waited_for() {
        let endless = [b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat();
        for length in 0..TEXT_BYTES_MAX {
            assert_eq!(ProxyHeader::parse(&endless[..length], 1024), Ok(None), "{length}");
        }
        assert!(ProxyHeader::parse(&endless[..TEXT_BYTES_MAX], 1024).is_err());
        // The length alone is enough to refuse.
        assert!(ProxyHeader::parse(&binary(0x21, 0x11, &[0; 2000])[..16], 1024).is_err());
    }
}
