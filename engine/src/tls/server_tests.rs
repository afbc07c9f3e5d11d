//! What a server's certificates, roots and lists mean to those who connect, before and after a reload.

use std::fs;
use std::path::PathBuf;

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

/// An authority that issues certificates for clients and lists of those it takes back.
struct Authority {
    files: Files,
    issuer: rcgen::CertifiedIssuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let files = Files::new();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages =
            vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
        let key = rcgen::KeyPair::generate().unwrap();
        let issuer = rcgen::CertifiedIssuer::self_signed(params, key).unwrap();
        fs::write(files.certificate(), issuer.pem()).unwrap();
        Self { files, issuer }
    }

    /// Files of a client whose certificate has this number.
    fn client(&self, number: u64) -> Files {
        let files = Files::new();
        let mut params = rcgen::CertificateParams::new(vec!["client".to_owned()]).unwrap();
        params.serial_number = Some(number.into());
        let key = rcgen::KeyPair::generate().unwrap();
        let issued = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(files.certificate(), issued.pem()).unwrap();
        fs::write(files.key(), key.serialize_pem()).unwrap();
        files
    }

    /// Takes back the certificate with this number, if any; the list's file.
    fn revoke(&self, number: Option<u64>) -> PathBuf {
        let revoked = number.map(|number| rcgen::RevokedCertParams {
            serial_number: number.into(),
            revocation_time: rcgen::date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = rcgen::CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2024, 1, 1),
            next_update: rcgen::date_time_ymd(2024, 1, 2),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked.into_iter().collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        let path = self.files.folder().join("revoked.pem");
        fs::write(&path, params.signed_by(&self.issuer).unwrap().pem().unwrap()).unwrap();
        path
    }
}

/// Whether a client with these sessions is let in, and whether it resumed one.
fn let_in(tls: &Tls, client: &ClientTls) -> (bool, bool) {
    let mut client = End::new(client.session("localhost").unwrap());
    let mut server = End::new(tls.session());
    carry(&mut client, &mut server, usize::MAX);
    let resumed = server.session.facts().is_some_and(|facts| facts.is_resumed);
    (server.session.can_send(), resumed)
}

#[test]
fn a_client_that_is_let_in_no_more_has_no_ticket_either() {
    let (files, first, second) = (Files::new(), Authority::new(), Authority::new());
    let roots = Files::new();
    let trust = |authorities: &[&Authority]| {
        let read = |it: &&Authority| fs::read_to_string(it.files.certificate()).unwrap();
        fs::write(roots.certificate(), authorities.iter().map(read).collect::<String>()).unwrap();
    };
    trust(&[&first, &second]);
    let tls = files.tls().client_certificates(roots.certificate()).unwrap();
    let with = |shown: Files| {
        ClientTls::with_certificate(files.certificate(), shown.certificate(), shown.key()).unwrap()
    };
    let (stays, leaves) = (with(first.client(1)), with(second.client(1)));
    for client in [&stays, &leaves] {
        assert_eq!(let_in(&tls, client), (true, false));
        assert_eq!(let_in(&tls, client), (true, true));
    }
    trust(&[&first]);
    tls.reload().unwrap();
    assert_eq!(let_in(&tls, &leaves), (false, false), "the ticket is worth nothing");
    assert_eq!(let_in(&tls, &stays), (true, false), "asked for its certificate again");
    assert_eq!(let_in(&tls, &stays), (true, true));
}

#[test]
fn a_client_certificate_on_the_revocation_list_is_refused() {
    let (files, authority) = (Files::new(), Authority::new());
    let list = authority.revoke(None);
    let tls = files.tls();
    let early = tls.clone().revocation_list(&list).unwrap_err();
    assert!(early.to_string().contains("client certificates"), "{early}");
    let tls = tls.client_certificates(authority.files.certificate()).unwrap();
    let tls = tls.revocation_list(&list).unwrap();
    let with = |shown: Files| {
        ClientTls::with_certificate(files.certificate(), shown.certificate(), shown.key()).unwrap()
    };
    let (stays, leaves) = (with(authority.client(7)), with(authority.client(8)));
    assert_eq!(let_in(&tls, &stays), (true, false));
    assert_eq!(let_in(&tls, &leaves), (true, false));
    assert_eq!(let_in(&tls, &leaves), (true, true));
    authority.revoke(Some(8));
    tls.reload().unwrap();
    assert_eq!(let_in(&tls, &stays), (true, false));
    assert_eq!(let_in(&tls, &leaves), (false, false));

    fs::write(&list, "no list").unwrap();
    let error = tls.reload().unwrap_err().to_string();
    assert!(error.contains("revoked.pem") && error.contains("revocation list"), "{error}");
    assert_eq!(let_in(&tls, &leaves), (false, false), "the last good list stays");
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
