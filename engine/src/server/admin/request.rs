//! Reads the request of an operator: a head without a body, from a socket that may be slow or
//! hostile. It decides nothing.

use std::io::{self, Read};
use std::net::{IpAddr, TcpStream};
use std::time::Instant;

/// Longest head.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Most header lines.
const HEADER_LINES_MAX: usize = 64;

/// What was asked for.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) path: String,
    pub(super) head_only: bool,
    query: String,
    host: String,
    authorization: String,
}

/// Reads a head; the inner error is the peer's and worth telling him.
pub(super) fn read_request(
    mut stream: &TcpStream,
    deadline: Instant,
) -> io::Result<Result<Request, &'static str>> {
    let mut head = Vec::new();
    loop {
        if head.windows(4).any(|end| end == b"\r\n\r\n") {
            return Ok(parse(&head));
        }
        if head.len() >= HEAD_BYTES_MAX {
            return Ok(Err("the request is too long"));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Err("the request took too long"));
        }
        stream.set_read_timeout(Some(left))?;
        let mut part = [0; 1024];
        match stream.read(&mut part)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            bytes => head.extend_from_slice(&part[..bytes]),
        }
    }
}

fn parse(head: &[u8]) -> Result<Request, &'static str> {
    let mut headers = [httparse::EMPTY_HEADER; HEADER_LINES_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    if !parsed.parse(head).is_ok_and(|status| status.is_complete()) {
        return Err("this is not an HTTP request");
    }
    let head_only = match parsed.method {
        Some("GET") => false,
        Some("HEAD") => true,
        _ => return Err("only GET and HEAD are understood"),
    };
    let target = parsed.path.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let header = |name: &str| {
        let found = parsed.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        let value = found.and_then(|header| std::str::from_utf8(header.value).ok());
        value.unwrap_or_default().trim().to_owned()
    };
    Ok(Request {
        path: path.to_owned(),
        head_only,
        query: query.to_owned(),
        host: header("host"),
        authorization: header("authorization"),
    })
}

impl Request {
    /// The number given for a name in the query.
    pub(super) fn query_number(&self, name: &str) -> Result<Option<usize>, &'static str> {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        match pairs.into_iter().find(|(own, _)| *own == name) {
            None => Ok(None),
            Some((_, value)) => value.parse().map(Some).map_err(|_| "limit takes a number"),
        }
    }

    /// Whether it is authorized by this token (RFC 6750 section 2.1). The comparison takes the same
    /// time wherever they differ.
    pub(super) fn has_token(&self, token: &str) -> bool {
        let Some((scheme, given)) = self.authorization.split_once(' ') else { return false };
        let (given, token) = (given.trim().as_bytes(), token.as_bytes());
        let differing = given.iter().zip(token).fold(0, |sum, (a, b)| sum | (a ^ b));
        scheme.eq_ignore_ascii_case("bearer") && given.len() == token.len() && differing == 0
    }

    /// Whether it was sent to an address or to `localhost`, and not to some name.
    pub(super) fn host_is_local(&self) -> bool {
        let host = match self.host.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => &self.host,
        };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(head: &str) -> Result<Request, &'static str> {
        parse(format!("{head}\r\n\r\n").as_bytes())
    }

    #[test]
    fn a_request_is_taken_apart() {
        let asked = request("GET /debug/connections?a=b&limit=7 HTTP/1.1\r\nHost: a").unwrap();
        assert_eq!(asked.path, "/debug/connections");
        assert_eq!(asked.query_number("limit"), Ok(Some(7)));
        assert_eq!(asked.query_number("other"), Ok(None));
        assert!(request("GET /?limit=x HTTP/1.1").unwrap().query_number("limit").is_err());
        assert!(request("HEAD / HTTP/1.1").unwrap().head_only);
        assert!(request("POST / HTTP/1.1").unwrap_err().contains("GET"));
        assert!(request("nonsense").is_err());
    }

    #[test]
    fn only_the_whole_token_is_the_token() {
        for (given, has) in [
            ("Bearer secret", true),
            ("bearer  secret", true),
            ("Bearer secre", false),
            ("Bearer secret1", false),
            ("Bearer Secret", false),
            ("Basic secret", false),
            ("secret", false),
            ("", false),
        ] {
            let asked = request(&format!("GET / HTTP/1.1\r\nAuthorization: {given}")).unwrap();
            assert_eq!(asked.has_token("secret"), has, "{given}");
        }
    }

    #[test]
    fn a_name_that_is_not_ours_is_told_from_an_address() {
        for (host, local) in [
            ("127.0.0.1:9601", true),
            ("127.0.0.1", true),
            ("[::1]:9601", true),
            ("localhost:9601", true),
            ("evil.example:9601", false),
            ("127.0.0.1.evil.example", false),
            ("", false),
        ] {
            let asked = request(&format!("GET / HTTP/1.1\r\nHost: {host}")).unwrap();
            assert_eq!(asked.host_is_local(), local, "{host}");
        }
    }
}
