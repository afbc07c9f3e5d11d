//! What is refused before a run, so that none is made in vain, and that nothing else is.

use ringsock::Driver;

use crate::program::ringload;
use crate::server::TestServer;

#[test]
fn a_run_whose_result_would_be_lost_is_not_made() {
    // Nobody listens there: a run that began would fail otherwise.
    let nobody = "ws://127.0.0.1:9/";
    let search = ["search", nobody, "--slo", "p99<1s", "--hgrm", "-"];
    for (words, told) in [
        (&["echo", nobody, "--json", "/no/such/folder/x"][..], "--json /no/such/folder/x: No such"),
        (&["echo", nobody, "--html", "/tmp"], "--html /tmp: it is a folder"),
        (&["echo", nobody, "--json", "-", "--csv", "-"], "--csv -: --json goes there already"),
        (&["matrix", nobody, "--hgrm", "-"], "--hgrm: this mode has no single distribution"),
        (&search, "--hgrm: this mode has no single distribution"),
        (&["echo", nobody, "--expect", "lag<1ms"], "--expect lag: this run does not tell it"),
        (&["echo", nobody, "--expect", "cpu<1ms"], "--expect cpu: this run does not tell it"),
        (&["search", nobody, "--slo", "reach=1"], "--slo reach: this run does not tell it"),
        (&["search", nobody, "--slo", "p99<1s", "--think", "9"], "--think: a rate is raised"),
        (&["compare", nobody, nobody, "--expect", "p99<1s"], "--expect p99: this run does not"),
    ] {
        let finished = ringload(words);
        assert_eq!(finished.status.code(), Some(2), "{words:?}: {}", finished.stderr);
        assert!(finished.stderr.contains(told), "{words:?}: {}", finished.stderr);
        assert_eq!(finished.stderr.lines().count(), 1, "{}", finished.stderr);
    }
}

#[test]
fn every_mode_tells_all_that_it_may_be_asked_for() {
    let server = TestServer::start(Driver::Epoll);
    let (url, fan_out, this) =
        (server.url("/"), server.url("/fanout"), std::process::id().to_string());
    let watched = ["--server-pid", &this];
    let broadcast = ["--connections", "3", "--rate", "50", "--duration", "0.3"];
    let study = ["--seconds-per-row", "0.1"];
    let compared = [&url, "--rounds", "2", "--seconds-per-run", "0.2", "--server-pid-b", &this];
    let searched = ["--slo", "p99<30s", "--from", "50", "--to", "50", "--seconds-per-step", "0.3"];
    for (mode, url, words) in [
        ("echo", &url, [&watched[..], &["--rate", "100", "--duration", "0.2"]].concat()),
        ("echo", &url, [&watched[..], &["--think", "5", "--duration", "0.2"]].concat()),
        ("echo", &url, vec!["--messages", "10"]),
        ("headers", &url, [&watched[..], &study].concat()),
        ("churn", &url, [&watched[..], &["--duration", "0.2"]].concat()),
        ("idle", &url, vec!["--connections", "5", "--ping-interval", "0.1", "--hold", "0.3"]),
        ("fanout", &fan_out, [&watched[..], &broadcast].concat()),
        ("fanout", &fan_out, vec!["--connections", "3", "--think", "9", "--duration", "0.3"]),
        ("slow", &fan_out, broadcast.to_vec()),
        ("matrix", &url, [&watched[..], &study, &["--payloads", "20"]].concat()),
        ("compare", &url, [&compared[..], &watched].concat()),
        ("search", &url, searched.to_vec()),
    ] {
        let run = |expected: &str| {
            let words = [&[mode, url, "--expect", expected][..], &words].concat();
            ringload(&words)
        };
        // No run here tells this one, so all that it does tell is named.
        let refused = run("connections>0");
        assert_eq!(refused.status.code(), Some(2), "{mode}: {}", refused.stdout);
        let told = refused.stderr.trim().rsplit_once("tell it, but: ").unwrap().1;
        let all: Vec<String> = told.split(", ").map(no_less_than_nothing).collect();
        let finished = run(&all.join(","));
        let (out, err) = (&finished.stdout, &finished.stderr);
        assert_eq!(finished.status.code(), Some(0), "{mode}: {out}{err}");
    }
}

/// A condition that holds whenever the figure is told.
fn no_less_than_nothing(figure: &str) -> String {
    let is_quantile = figure.starts_with('p') && !figure.contains('-');
    let is_time = is_quantile || ["mean", "max", "lag", "completion", "cpu"].contains(&figure);
    format!("{figure}>=0{}", if is_time { "ns" } else { "" })
}
