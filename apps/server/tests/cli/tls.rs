//! TLS as an operator sets it up: certificates by name, versions, a reload while clients come and go.
//! The clients share no code with the engine.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion, version,
};

use crate::place::Place;
use crate::program::{PATIENCE, Serving, echo, failure, request, ringsock};

type Secured = StreamOwned<ClientConnection, TcpStream>;

/// A certificate of its own issue with its key, in memory.
struct Issued {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    key_pem: String,
}

impl Issued {
    fn for_name(name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        Self {
            certificate: made.cert.der().clone(),
            certificate_pem: made.cert.pem(),
            key_pem: made.signing_key.serialize_pem(),
        }
    }

    /// Writes both files; their paths.
    fn write(&self, place: &Place, name: &str) -> (String, String) {
        let certificate = place.write(&format!("{name}.pem"), &self.certificate_pem);
        (certificate, place.write(&format!("{name}.key"), &self.key_pem))
    }
}

/// A client that trusts these, speaks these versions, and resumes nothing.
fn trusting(
    issued: &[&Issued],
    versions: &[&'static SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for one in issued {
        roots.add(one.certificate.clone()).expect("a certificate that can be trusted");
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider);
    let config = config.with_protocol_versions(versions).expect("versions");
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// Connects and asks for a name; the handshake is made with the first byte.
fn secured(address: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> Secured {
    let stream = TcpStream::connect(address).expect("nobody is refused");
    stream.set_read_timeout(Some(PATIENCE)).expect("patience is not zero");
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let connection = ClientConnection::new(Arc::clone(config), name).expect("a good configuration");
    StreamOwned::new(connection, stream)
}

/// Completes both handshakes; the certificate that was shown.
fn open(address: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> (Secured, Vec<u8>) {
    let mut stream = secured(address, config, name);
    let head = request(&mut stream).expect("TLS and an answer");
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    let shown = stream.conn.peer_certificates().expect("a certificate")[0].to_vec();
    (stream, shown)
}

#[test]
fn certificates_go_by_name_and_the_oldest_version_is_configured() {
    let place = Place::new("tls-names");
    let (usual, other) = (Issued::for_name("localhost"), Issued::for_name("chat.example.org"));
    let (certificate, key) = usual.write(&place, "usual");
    let (other_certificate, other_key) = other.write(&place, "other");
    let text = format!(
        "[tls]\ncertificate = {certificate:?}\nkey = {key:?}\nminimum_version = \"1.3\"\n\
         [[tls.name]]\nname = \"*.example.org\"\n\
         certificate = {other_certificate:?}\nkey = {other_key:?}\n"
    );
    let file = place.write("r.toml", &text);
    let arguments = ["echo", "--listen", "127.0.0.1:0", "--cores", "0", "--config", &file];
    let server = Serving::start(ringsock(&arguments));
    let both = trusting(&[&usual, &other], &[&version::TLS13]);
    for (name, expected) in [("localhost", &usual), ("chat.example.org", &other)] {
        let (mut stream, shown) = open(server.address, &both, name);
        assert_eq!(shown, expected.certificate.to_vec(), "{name}");
        echo(&mut stream, name);
    }
    let old = trusting(&[&usual], &[&version::TLS12]);
    assert_eq!(request(&mut secured(server.address, &old, "localhost")), None);

    for (changed, named) in [
        (text.replace("\"1.3\"", "\"1.1\""), "r.toml:4: tls.minimum_version: '1.1'"),
        (text.replace("*.example.org", "*.*.org"), "r.toml:6: tls.name.name: '*.*.org'"),
        (text.replace(&other_key, &key), "do not belong together"),
        (text.replace(&certificate, "/none.pem"), "/none.pem"),
        (text.replace("[tls]\n", "[tls]\n#"), "both certificate and key"),
    ] {
        let file = place.write("r.toml", &changed);
        let line = failure(ringsock(&["check-config", "--config", &file]));
        assert!(line.contains(named), "{line}");
    }
}

/// Connects, echoes and leaves until told to end; how often.
fn churn(address: SocketAddr, config: &Arc<ClientConfig>, over: &AtomicBool) -> usize {
    let mut cycles = 0;
    while !over.load(Ordering::Relaxed) {
        let (mut stream, _) = open(address, config, "localhost");
        echo(&mut stream, "short");
        cycles += 1;
    }
    cycles
}

#[test]
fn a_reload_under_load_shows_new_certificates_and_disturbs_nobody() {
    for driver in ["auto", "epoll"] {
        let place = Place::new(&format!("tls-reload-{driver}"));
        let issued = [Issued::for_name("localhost"), Issued::for_name("localhost")];
        let (certificate, key) = issued[0].write(&place, "pair");
        let arguments = ["echo", "--listen", "127.0.0.1:0", "--cores", "0", "--driver", driver];
        let files = ["--tls-cert", &certificate, "--tls-key", &key];
        let mut server = Serving::start(ringsock(&[&arguments[..], &files].concat()));
        let address = server.address;
        let config = trusting(&[&issued[0], &issued[1]], rustls::ALL_VERSIONS);
        let (mut lasting, shown) = open(address, &config, "localhost");
        assert_eq!(shown, issued[0].certificate.to_vec());
        let over = Arc::new(AtomicBool::new(false));
        let clients = (0..3).map(|_| {
            let (config, over) = (Arc::clone(&config), Arc::clone(&over));
            thread::spawn(move || churn(address, &config, &over))
        });
        let clients: Vec<_> = clients.collect();
        for round in 1..=6 {
            let next = &issued[round % 2];
            next.write(&place, "pair");
            server.signal("HUP");
            server.wait_for_line("configuration read again");
            let (_, shown) = open(address, &config, "localhost");
            assert_eq!(shown, next.certificate.to_vec(), "round {round}");
            echo(&mut lasting, "opened before all of them");
        }
        place.write("pair.key", "nothing of use\n");
        server.signal("HUP");
        let line = server.wait_for_line("pair.key");
        assert!(line.contains(" kept as "), "{line}");
        open(address, &config, "localhost");
        over.store(true, Ordering::Relaxed);
        for client in clients {
            assert!(client.join().expect("no handshake failed") > 0);
        }
        echo(&mut lasting, "still there");
    }
}
