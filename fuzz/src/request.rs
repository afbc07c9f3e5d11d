//! Requests: the scanner finds the same end at any cut, whatever it accepts can be parsed or is
//! refused with a status, and every question to a parsed request has an answer.

use ringsock::protocol::handshake::{
    HandshakeLimits, HeadScanner, HeaderStorage, Rejection, Request,
};

use super::cuts::Cuts;

fn limits() -> HandshakeLimits {
    HandshakeLimits { head_bytes_max: 2048, header_lines_max: 20, target_bytes_max: 512 }
}

/// Where the head ends, counted from the start of the input.
fn scan<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<Option<usize>, Rejection> {
    let (mut scanner, mut before) = (HeadScanner::new(), 0);
    for piece in pieces {
        if let Some(end) = scanner.scan(piece, &limits())? {
            return Ok(Some(before + end));
        }
        before += piece.len();
    }
    Ok(None)
}

fn question(request: &Request<'_>) {
    let _ = (request.check_http(), request.query("room"), request.header("host"));
    assert!(request.target().len() <= limits().target_bytes_max);
    let path = request.path();
    assert!(path.starts_with('/') && !path.contains("//"), "{path}");
    assert!(!path.split('/').any(|segment| matches!(segment, "." | "..")), "{path}");
    assert!(request.headers().count() <= limits().header_lines_max);
    for subprotocol in request.subprotocols() {
        assert!(!subprotocol.is_empty() && !subprotocol.contains([' ', ',', '\r', '\n']));
    }
    if let Ok(facts) = request.check() {
        assert!(request.is_upgrade() && request.method() == "GET");
        assert_eq!(facts.accept.len(), 28);
    }
}

pub(super) fn run(data: &[u8]) {
    let Some((cuts, input)) = Cuts::take(data) else { return };
    let whole = scan(std::iter::once(input));
    let cut = scan(cuts.pieces(input));
    match (&whole, &cut) {
        (Ok(whole), Ok(cut)) => assert_eq!(whole, cut),
        (Err(whole), Err(cut)) => assert_eq!(whole.status, cut.status),
        _ => panic!("whole {whole:?}, in pieces {cut:?}"),
    }
    let Ok(Some(end)) = whole else { return };
    let mut storage = HeaderStorage::new();
    match Request::parse(&input[..end], &mut storage, &limits()) {
        Ok(request) => question(&request),
        Err(rejection) => assert!((400..600).contains(&rejection.status.code())),
    }
}
