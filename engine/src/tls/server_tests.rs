//! What a server's certificates, roots and lists mean to those who connect, before and after a reload.

use std::fs;

use super::session_tests::{End, carry};
use super::test_files::Files;
use super::{ClientTls, FailureReason, Tls, TlsError};

#[test]
fn the_certificate_is_the_one_for_the_name_asked_for() {
    let (first, other, any) = (Files::new(), Files::new(), Files::new());
    other.issue("other.example");
    any.issue("x.any.example");
    let tls = first.tls().server_name("other.example", other.certificate(), other.key()).unwrap();
    let tls = tls.server_name("*.any.example", any.certificate(), any.key()).unwrap();
    for (name, files) in [("localhost", &first), ("Other.Example", &other), ("x.any.example", &any)]
    {
        let mut client = End::new(files.trusting().session(name).unwrap());
        let mut server = End::new(tls.session());
        carry(&mut client, &mut server, usize::MAX);
        assert!(client.session.can_send(), "{name}: {:?}", client.failure);
    }
}

#[test]
fn a_reload_reaches_new_connections_and_spares_open_ones() {
    let files = Files::new();
    let tls = files.tls();
    let before = files.trusting();
    let mut old_client = End::new(before.session("localhost").unwrap());
    let mut old_server = End::new(tls.session());
    carry(&mut old_client, &mut old_server, usize::MAX);
    files.issue("localhost");
    tls.reload().unwrap();
    old_client.receive(&old_server.send(b"still here", false));
    assert_eq!(old_client.content, b"still here");
    let mut client = End::new(files.trusting().session("localhost").unwrap());
    let mut server = End::new(tls.session());
    carry(&mut client, &mut server, usize::MAX);
    assert!(client.session.can_send(), "{:?}", client.failure);

    fs::write(files.key(), "no key").unwrap();
    assert!(matches!(tls.reload(), Err(TlsError::File { .. })));
    let mut client = End::new(files.trusting().session("localhost").unwrap());
    let mut server = End::new(tls.session());
    carry(&mut client, &mut server, usize::MAX);
    assert!(client.session.can_send(), "the last good certificate stays");
}

#[test]
fn a_client_certificate_is_demanded_and_told() {
    let (files, known, unknown) = (Files::new(), Files::new(), Files::new());
    let tls = files.tls().client_certificates(known.certificate()).unwrap();
    let with = |shown: &Files| {
        ClientTls::with_certificate(files.certificate(), shown.certificate(), shown.key()).unwrap()
    };
    for (client, good) in [(with(&known), true), (with(&unknown), false), (files.trusting(), false)]
    {
        let mut client = End::new(client.session("localhost").unwrap());
        let mut server = End::new(tls.session());
        carry(&mut client, &mut server, usize::MAX);
        assert_eq!(server.session.can_send(), good);
        let certificate = server.session.facts().and_then(|facts| facts.peer_certificate.clone());
        assert_eq!(certificate.is_some(), good);
        let failure = (!good).then_some(FailureReason::Certificate);
        assert_eq!(server.failure, failure);
    }
}

#[test]
fn files_that_cannot_serve_are_named() {
    let (files, others) = (Files::new(), Files::new());
    let told = |error: TlsError| error.to_string();
    let absent = files.folder().join("absent.pem");
    let error = told(Tls::pem(&absent, files.key()).unwrap_err());
    assert!(error.contains("absent.pem") && error.contains("certificate"), "{error}");
    let error = told(Tls::pem(files.key(), files.key()).unwrap_err());
    assert!(error.contains("key.pem"), "{error}");
    let error = told(Tls::pem(files.certificate(), files.certificate()).unwrap_err());
    assert!(error.contains("private key"), "{error}");
    let error = told(Tls::pem(files.certificate(), others.key()).unwrap_err());
    assert!(error.contains("do not belong together"), "{error}");
    let error = told(files.trusting().session("no name").unwrap_err());
    assert!(error.contains("no name"), "{error}");
}
