//! Where a head ends, how soon a wrong one is refused, and what it costs to find out.

use std::time::{Duration, Instant};

use super::*;

fn scan(bytes: &[u8]) -> Result<Option<usize>, u16> {
    let scanned = HeadScanner::new().scan(bytes, &HandshakeLimits::default());
    scanned.map_err(|rejection| rejection.status.code())
}

#[test]
fn the_scanner_is_small() {
    assert!(size_of::<HeadScanner>() <= 16);
}

#[test]
fn the_end_is_found_where_the_empty_line_ends() {
    let head = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_eq!(scan(head), Ok(Some(head.len())));
    assert_eq!(scan(&[&head[..], b"GET /admin"].concat()), Ok(Some(head.len())));
    assert_eq!(scan(&[b"\r\n", &head[..]].concat()), Ok(Some(head.len() + 2)));
    assert_eq!(scan(b"GET / HTTP/1.1\r\n\r\n"), Ok(Some(18)));
    for cut in 0..head.len() {
        assert_eq!(scan(&head[..cut]), Ok(None), "cut at {cut}");
    }
}

#[test]
fn a_wrong_byte_is_refused_when_it_arrives() {
    for (start, wrong) in [
        ("", "\0"),
        ("", "\u{1}"),
        ("", " "),
        ("", "\n"),
        ("", "\u{16}"),
        ("\r", "G"),
        ("\r\n", "\r"),
        ("\r\n", "\u{16}"),
        ("GE", "\n"),
        ("GET", "\t"),
        ("GET ", " "),
        ("GET /", "\r"),
        ("GET /", "\n"),
        ("GET /", "\0"),
        ("GET / HTTP/1.", "\r"),
        ("GET / HTTP/1.1", "\n"),
        ("GET / HTTP/1.1", "1"),
        ("GET / HTTP/1.1", " "),
        ("GET / HTTP/1.1\r", "X"),
        ("GET / HTTP/1.1\r\n", " "),
        ("GET / HTTP/1.1\r\n", "\t"),
        ("GET / HTTP/1.1\r\n", "\n"),
        ("GET / HTTP/1.1\r\n", ":"),
        ("GET / HTTP/1.1\r\nA", " "),
        ("GET / HTTP/1.1\r\nA", "\r"),
        ("GET / HTTP/1.1\r\nA: b", "\n"),
        ("GET / HTTP/1.1\r\nA: b", "\0"),
        ("GET / HTTP/1.1\r\nA: b\r", "\r"),
        ("GET / HTTP/1.1\r\nA: b\r\n\r", "x"),
    ] {
        assert_eq!(scan(start.as_bytes()), Ok(None), "{start:?} alone");
        let bytes = [start, wrong].concat();
        assert_eq!(serve_every_way(bytes.as_bytes()).status(), 400, "{bytes:?}");
    }
}

#[test]
fn tls_and_other_strangers_are_told_at_once() {
    let Outcome::Refused(rejection) = serve_every_way(b"\x16\x03\x01\x02\x00\x01\x00") else {
        panic!("not refused")
    };
    assert!(rejection.detail.contains("TLS"), "{rejection}");
    assert_eq!(scan(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), Ok(Some(18)));
}

#[test]
fn each_limit_passes_at_its_value_and_fails_one_beyond() {
    let page = |target_bytes: usize, lines: usize, fill_bytes: usize| {
        let mut head = format!("GET /{} HTTP/1.1\r\nHost: h\r\n", "a".repeat(target_bytes - 1));
        head += &"X-A: b\r\n".repeat(lines - 2);
        head += &format!("X-B: {}\r\n\r\n", "b".repeat(fill_bytes));
        head.into_bytes()
    };
    assert_eq!(serve_every_way(&page(8 * 1024, 100, 0)).status(), 200);
    assert_eq!(serve_every_way(&page(8 * 1024 + 1, 100, 0)).status(), 414);
    assert_eq!(serve_every_way(&page(9 * 1024, 100, 0)).status(), 414);
    assert_eq!(serve_every_way(&page(1, 101, 0)).status(), 431);
    assert_eq!(serve_every_way(&page(1, 2000, 0)).status(), 431);
    let fill_bytes = 16 * 1024 - page(1, 2, 0).len();
    assert_eq!(page(1, 2, fill_bytes).len(), 16 * 1024);
    assert_eq!(serve_every_way(&page(1, 2, fill_bytes)).status(), 200);
    assert_eq!(serve_every_way(&page(1, 2, fill_bytes + 1)).status(), 431);
    assert_eq!(serve_every_way(&page(1, 2, 17 * 1024)).status(), 431);
}

#[test]
fn too_much_is_refused_before_the_head_ends() {
    let lines = format!("GET / HTTP/1.1\r\n{}", "X: y\r\n".repeat(100));
    assert_eq!(scan(lines.as_bytes()), Ok(None));
    assert_eq!(scan((lines + "X").as_bytes()), Err(431));
    assert_eq!(scan("G".repeat(32).as_bytes()), Ok(None));
    assert_eq!(scan("G".repeat(33).as_bytes()), Err(501));
    assert_eq!(scan(format!("GET {}", "/".repeat(8 * 1024 + 1)).as_bytes()), Err(414));
}

#[test]
fn header_lines_beyond_the_limit_are_refused_before_and_after_the_upgrade() {
    let many = ["X-A: b"; 200];
    assert_eq!(serve_every_way(&handshake_with("GET / HTTP/1.1", &many)).status(), 431);
    let mut changes = many.to_vec();
    changes.push("Upgrade: websocket");
    assert_eq!(serve_every_way(&handshake_with("GET / HTTP/1.1", &changes)).status(), 431);
}

#[test]
fn smaller_limits_are_kept_to() {
    let limits = HandshakeLimits { head_bytes_max: 40, header_lines_max: 1, target_bytes_max: 3 };
    for (head, expected) in [
        ("GET /ab HTTP/1.1\r\nHost: h\r\n\r\n", Ok(())),
        ("GET /abc HTTP/1.1\r\nHost: h\r\n\r\n", Err(414)),
        ("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n", Err(431)),
        ("GET / HTTP/1.1\r\nHost: hhhhhhhhhhhhhh\r\n\r\n", Ok(())),
        ("GET / HTTP/1.1\r\nHost: hhhhhhhhhhhhhhh\r\n\r\n", Err(431)),
    ] {
        let mut storage = HeaderStorage::new();
        let parsed = Request::parse(head.as_bytes(), &mut storage, &limits);
        let result = parsed.map(|_| ()).map_err(|rejection| rejection.status.code());
        assert_eq!(result, expected, "{head:?}");
    }
}

/// Random edits of a sound head: however they are cut, the scanner says the same, and what it
/// lets through is a head by the plain reading of the grammar.
#[test]
fn mutated_heads_are_judged_alike_however_they_are_cut() {
    let sound = handshake_with("GET /a?b HTTP/1.1", &["X-A: some value, longer than a block"]);
    let mut random = 0x2545_f491_4f6c_dd1du64;
    let mut next = |bound: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 33) as usize % bound
    };
    let interesting = b"\r\n \t:\0aZ\x7f\x80\xff,\"%#/";
    let mut accepted = 0;
    for _ in 0..4000 {
        let mut head = sound.clone();
        for _ in 0..=next(2) {
            let at = next(head.len());
            let byte = interesting[next(interesting.len())];
            match next(3) {
                0 => head[at] = byte,
                1 => head.insert(at, byte),
                _ => drop(head.remove(at)),
            }
        }
        let whole = serve([&head[..]].into_iter());
        assert_eq!(serve(head.chunks(1)), whole, "{}", head.escape_ascii());
        let cut = next(head.len());
        let (first, second) = head.split_at(cut);
        assert_eq!(serve([first, second].into_iter()), whole, "{}", head.escape_ascii());
        let scanned = HeadScanner::new().scan(&head, &HandshakeLimits::default());
        if let Ok(Some(head_bytes)) = scanned {
            accepted += 1;
            assert!(is_head_by_the_grammar(&head[..head_bytes]), "{}", head.escape_ascii());
        }
        if let Ok(None) = scanned {
            assert!(
                !head.windows(4).any(|window| window == b"\r\n\r\n"),
                "{}",
                head.escape_ascii()
            );
        }
    }
    assert!(accepted > 100, "only {accepted} heads were accepted");
}

/// The grammar of RFC 9112, read slowly.
fn is_head_by_the_grammar(head: &[u8]) -> bool {
    let head = head.strip_prefix(b"\r\n").unwrap_or(head);
    let Some(lines) = head.strip_suffix(b"\r\n\r\n") else { return false };
    let lines = String::from_utf8_lossy(lines).into_owned();
    let mut lines = lines.split("\r\n");
    let request_line: Vec<_> = lines.next().unwrap_or_default().split(' ').collect();
    let token = |text: &str| tokens::is_token(text.as_bytes());
    let visible = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    let start_fits = matches!(request_line[..], [method, target, version]
        if token(method) && visible(target) && version.len() == 8 && visible(version));
    start_fits
        && lines.all(|line| {
            line.split_once(':').is_some_and(|(name, value)| {
                token(name) && !value.chars().any(|c| c.is_ascii_control() && c != '\t')
            })
        })
}

/// 16 KiB in pieces of one byte: looking again at what was seen would take 134 million steps.
#[test]
fn a_head_in_single_bytes_costs_no_more_than_its_bytes() {
    let mut head = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(16 * 1024)).into_bytes();
    head.truncate(16 * 1024);
    let limits = HandshakeLimits::default();
    let best = (0..10).map(|_| {
        let began = Instant::now();
        let mut scanner = HeadScanner::new();
        for piece in head.chunks(1) {
            assert_eq!(scanner.scan(std::hint::black_box(piece), &limits), Ok(None));
        }
        began.elapsed()
    });
    let best = best.min().unwrap();
    // Without optimization a step takes ten times as long, on either path.
    let time_max = Duration::from_millis(if cfg!(debug_assertions) { 20 } else { 2 });
    assert!(best < time_max, "{best:?}");
}
