//! The way through an HTTP proxy (RFC 9110 section 9.3.6, RFC 7617). No other method of a proxy is
//! known here, and the proxy itself is spoken to in plain text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::protocol::handshake::WebSocketUrl;

/// A proxy to go through.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) host: String,
    pub(super) port: u16,
    /// The value of `Proxy-Authorization`.
    authorization: Option<String>,
}

impl Proxy {
    /// Reads `http://[user:password@]host:port`.
    pub(super) fn parse(url: &str) -> Result<Self, &'static str> {
        let rest = url.strip_prefix("http://").ok_or("it does not begin with http://")?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (credentials, host) = match rest.rsplit_once('@') {
            Some((credentials, host)) => (Some(credentials), host),
            None => (None, rest),
        };
        // The rules for host and port are those of a WebSocket address.
        let url = WebSocketUrl::parse(&format!("ws://{host}"))
            .map_err(|_| "host and port are not readable")?;
        if url.target != "/" {
            return Err("nothing may follow the port");
        }
        let authorization =
            credentials.map(|credentials| format!("Basic {}", STANDARD.encode(credentials)));
        Ok(Self { host: url.host, port: url.port, authorization })
    }

    /// The request for a tunnel to `host:port`.
    pub(super) fn request(&self, url: &WebSocketUrl) -> Vec<u8> {
        let host =
            if url.host.contains(':') { format!("[{}]", url.host) } else { url.host.clone() };
        let authority = format!("{host}:{}", url.port);
        let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
        if let Some(authorization) = &self.authorization {
            request += &format!("Proxy-Authorization: {authorization}\r\n");
        }
        request += "\r\n";
        request.into_bytes()
    }
}

/// Reads the proxy's answer: where it ends once it is whole and grants the tunnel.
///
/// # Errors
/// What it answered instead.
pub(super) fn read_answer(head: &[u8], head_bytes_max: usize) -> Result<Option<usize>, String> {
    let mut storage = [httparse::EMPTY_HEADER; 100];
    let mut response = httparse::Response::new(&mut storage);
    match response.parse(head) {
        Ok(httparse::Status::Complete(size)) => match response.code {
            Some(200..300) => Ok(Some(size)),
            Some(407) => Err("it answered 407: it wants other credentials".to_owned()),
            code => Err(format!(
                "it answered {} {}",
                code.unwrap_or_default(),
                response.reason.unwrap_or_default()
            )),
        },
        Ok(httparse::Status::Partial) if head.len() < head_bytes_max => Ok(None),
        Ok(httparse::Status::Partial) => {
            Err(format!("its answer has more than {head_bytes_max} bytes"))
        }
        Err(error) => Err(format!("its answer is not HTTP/1.1: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunnel_is_asked_for_by_host_and_port_whatever_the_scheme() {
        let proxy = Proxy::parse("http://user:secret@proxy.test:3128/").unwrap();
        assert_eq!((proxy.host.as_str(), proxy.port), ("proxy.test", 3128));
        let url = WebSocketUrl::parse("ws://[::1]/feed").unwrap();
        assert_eq!(
            String::from_utf8(proxy.request(&url)).unwrap(),
            "CONNECT [::1]:80 HTTP/1.1\r\nHost: [::1]:80\r\n\
             Proxy-Authorization: Basic dXNlcjpzZWNyZXQ=\r\n\r\n"
        );
    }

    #[test]
    fn a_wrong_proxy_is_told_what_is_wrong_with_it() {
        for (url, word) in [
            ("https://h:1", "http://"),
            ("h:1", "http://"),
            ("http://h:x", "readable"),
            ("http://h:1/path", "follow"),
        ] {
            let error = Proxy::parse(url).unwrap_err();
            assert!(error.contains(word), "{url}: {error}");
        }
    }

    #[test]
    fn only_a_granted_tunnel_is_gone_through_and_at_any_split() {
        let granted = b"HTTP/1.1 200 Connection established\r\nVia: 1.1 p\r\n\r\n";
        for split in 0..granted.len() {
            assert_eq!(read_answer(&granted[..split], 1024), Ok(None), "{split}");
        }
        assert_eq!(read_answer(granted, 1024), Ok(Some(granted.len())));
        for (answer, word) in [
            (&b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"[..], "credentials"),
            (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "502 Bad Gateway"),
            (b"HTTP/1.1 301 Moved\r\n\r\n", "301"),
            (b"SSH-2.0-x\r\n\r\n", "not HTTP"),
        ] {
            let error = read_answer(answer, 1024).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
        assert!(read_answer(&granted[..20], 20).unwrap_err().contains("20 bytes"));
    }
}
