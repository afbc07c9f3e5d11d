//! How connections begin: over TLS, with compression, subprotocols, headers and tokens. What is
//! agreed is told.

use std::fs;
use std::path::PathBuf;

use ringsock::Tls;

use crate::program::{Finished, ringload, ringload_with};
use crate::server::TestServer;
use crate::{drivers, number};

/// A folder of its own, which goes with the value.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringload-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Writes a file; its path.
    fn file(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn assert_all_compared(finished: &Finished, due: f64) {
    let (out, err) = (&finished.stdout, &finished.stderr);
    assert_eq!(finished.status.code(), Some(0), "{out}{err}");
    assert_eq!(number(&finished.json(), "/checked/compared"), due, "{out}");
}

#[test]
fn over_tls_a_certificate_is_trusted_by_the_system_or_by_request_and_bytes_are_compared() {
    let folder = Folder::new("tls");
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let certificate = folder.file("cert.pem", &made.cert.pem());
    let key = folder.file("key.pem", &made.signing_key.serialize_pem());
    for driver in drivers() {
        let server = TestServer::start_secure(driver.0, Tls::pem(&certificate, &key).unwrap());
        let url = server.url("/");
        let words = ["echo", &url, "--driver", driver.1, "--connections", "4", "--json", "-"];
        let words = [&words[..], &["--messages", "25", "--verify", "all"]].concat();
        let trusted = [("SSL_CERT_FILE", certificate.as_str())];
        assert_all_compared(&ringload_with(&trusted, &words), 100.0);
        assert_all_compared(&ringload(&[&words[..], &["--insecure"]].concat()), 100.0);
        // It is nobody's certificate otherwise.
        let refused = ringload(&words);
        assert_eq!(refused.status.code(), Some(2), "{}", refused.stdout);
        assert!(refused.stderr.contains(": handshake: "), "{}", refused.stderr);
    }
}

#[test]
fn slow_clients_and_broadcasts_go_over_tls_as_well() {
    let folder = Folder::new("tls-modes");
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let certificate = folder.file("cert.pem", &made.cert.pem());
    let key = folder.file("key.pem", &made.signing_key.serialize_pem());
    for driver in drivers() {
        let server = TestServer::start_secure(driver.0, Tls::pem(&certificate, &key).unwrap());
        let url = server.url("/fanout");
        let fixed = [&url, "--driver", driver.1, "--insecure", "--connections", "6", "--json", "-"];
        for (mode, words) in [
            ("fanout", &["--rate", "200", "--duration", "0.4"][..]),
            ("slow", &["--slow-share", "0.3", "--rate", "100", "--duration", "0.4"]),
        ] {
            let finished = ringload(&[&[mode][..], &fixed, words].concat());
            let (out, err) = (&finished.stdout, &finished.stderr);
            assert_eq!(finished.status.code(), Some(0), "{mode}: {out}{err}");
        }
    }
}

#[test]
fn subprotocols_headers_and_tokens_open_doors() {
    let folder = Folder::new("members");
    let tokens = folder.file("tokens", "one\n\ntwo\n");
    let strangers = folder.file("strangers", "three\n");
    for driver in drivers() {
        let server = TestServer::start(driver.0);
        let url = server.url("/members");
        let words = ["echo", &url, "--driver", driver.1, "--connections", "4", "--json", "-"];
        let words = [&words[..], &["--messages", "5", "--verify", "all"]].concat();
        let (name, origin) = (["--subprotocol", "v2"], ["--header", "Origin: http://here"]);
        let token = ["--token-file", &tokens];
        let all = [&words[..], &name, &origin, &token].concat();
        assert_all_compared(&ringload(&all), 20.0);
        // The same by a header that says where the token goes.
        let header = ["--header", "Authorization: Bearer {token}"];
        assert_all_compared(&ringload(&[&all[..], &header].concat()), 20.0);
        let stranger = ["--token-file", &strangers];
        for some in [
            [&name[..], &origin].concat(),
            [&name[..], &token].concat(),
            [&origin[..], &token].concat(),
            [&name[..], &origin, &stranger].concat(),
        ] {
            let refused = ringload(&[&words[..], &some].concat());
            assert_eq!(refused.status.code(), Some(2), "{some:?}: {}", refused.stdout);
            assert!(refused.stderr.contains("403"), "{some:?}: {}", refused.stderr);
        }
    }
}

#[test]
fn subprotocols_that_a_server_chose_are_told_and_so_is_when_it_chose_none() {
    let warning = "chose none of the subprotocols offered on 3 connections";
    for driver in drivers() {
        let server = TestServer::start(driver.0);
        let (echo, chosen) = (server.url("/"), server.url("/v2-for-some"));
        let (fan_out, short) = (server.url("/fanout"), ["--duration", "0.2", "--warmup", "0"]);
        let (paced, closed) = (&["--rate", "100"][..], &["--pipeline", "2"][..]);
        for (mode, url, words, agreed, none) in [
            ("echo", &chosen, closed, Some(2.0), 1.0),
            ("echo", &chosen, paced, Some(2.0), 1.0),
            ("echo", &echo, closed, None, 3.0),
            ("fanout", &fan_out, paced, None, 3.0),
        ] {
            let offers = ["--subprotocol", "v1", "--subprotocol", "v2", "--json", "-"];
            let fixed = [mode, url, "--driver", driver.1, "--connections", "3"];
            let finished = ringload(&[&fixed[..], &offers, &short, words].concat());
            let json = finished.json();
            assert_eq!(finished.status.code(), Some(0), "{json:#}");
            let told = &json["checked"]["subprotocols"];
            assert_eq!(told["agreed"]["v2"].as_f64(), agreed, "{mode}: {json:#}");
            assert_eq!(number(told, "/none"), none, "{mode}: {json:#}");
            let warns = json["warnings"].to_string().contains(warning);
            assert_eq!(warns, agreed.is_none(), "{json:#}");
        }
        let words = ["echo", &chosen, "--driver", driver.1, "--messages", "5"];
        let three = ["--connections", "3", "--subprotocol", "v2"];
        let text = ringload(&[&words[..], &three].concat()).stdout;
        assert!(text.contains("protocol  v2 on 2 connections, none on 1 connections"), "{text}");
        let beware = "beware    the server chose none of the subprotocols offered on 1 connections";
        assert!(text.contains(beware), "{text}");
        // Who offers none is told nothing, nor who does not read the answer.
        for trust in [&[][..], &["--subprotocol", "v2", "--trust-peer"]] {
            let finished = ringload(&[&words[..], trust, &["--json", "-"]].concat());
            let json = finished.json();
            assert!(json["checked"]["subprotocols"].is_null(), "{json:#}");
        }
    }
}

#[test]
fn compressed_echoes_are_right_and_whether_the_server_agreed_is_told() {
    let template = "{connection} says hello hello hello hello hello hello {sequence}";
    for driver in drivers() {
        for (server, agreed) in
            [(TestServer::start(driver.0), 0.0), (TestServer::start_compressing(driver.0), 3.0)]
        {
            let url = server.url("/");
            let deflate = "--deflate=takeover,threshold=0";
            let words = ["echo", &url, "--driver", driver.1, deflate, "--template", template];
            let more = ["--connections", "3", "--messages", "50", "--verify", "all"];
            let finished = ringload(&[&words[..], &more, &["--json", "-"]].concat());
            assert_all_compared(&finished, 150.0);
            let json = finished.json();
            assert_eq!(number(&json, "/checked/compressed_connections"), agreed, "{json:#}");
            let warning = "the server did not agree to --deflate on 3 connections";
            assert_eq!(json["warnings"].to_string().contains(warning), agreed == 0.0, "{json:#}");
        }
    }
}
