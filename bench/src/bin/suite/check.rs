//! Whether servers do what is said of them, before anything is measured: a server that does not do the
//! work would be cheap.

use std::fs;
use std::path::Path;

use crate::contestants;
use crate::load::{Load, Work};
use crate::options::Options;
use crate::peers::{self, Peer};
use crate::run::Bench;
use crate::{Result, say};

/// A little of everything there is: what, and the load.
fn loads() -> [(&'static str, Load); 4] {
    let echo = Load::new(Work::Echo { in_flight: 3 }, 3, 300);
    [
        ("echo", echo),
        ("fan-out", Load::new(Work::FanOut { in_flight: 3 }, 3, 300)),
        ("deflate", echo.deflated()),
        ("TLS", echo.over_tls()),
    ]
}

/// Our servers, and the peers asked for, each installed and under all loads that it says it can do.
///
/// # Errors
/// Whoever fails, and at what; the others have been checked then, too.
pub(crate) fn all(options: &Options, bench: &Bench) -> Result<()> {
    let mut failed = Vec::new();
    for own in contestants::own() {
        let outcome = loads().into_iter().try_for_each(|(_, load)| bench.check(&own, load));
        say(&told(own.name(), "all", &outcome))?;
        failed.extend(outcome.err().map(|error| format!("{}: {error}", own.name())));
    }
    for peer in asked(options, bench)? {
        if let Err(error) = peer.install() {
            failed.push(format!("{}: {error}", peer.name));
            say(&told(&peer.name, "installing", &Err(error)))?;
            continue;
        }
        let contestant = contestants::of(peer);
        for (what, load) in loads().into_iter().filter(|&(_, load)| contestant.can(load)) {
            let outcome = bench.check(&contestant, load);
            say(&told(contestant.name(), what, &outcome))?;
            failed.extend(outcome.err().map(|error| format!("{}: {error}", contestant.name())));
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n").into()) }
}

fn told(name: &str, what: &str, outcome: &Result<()>) -> String {
    match outcome {
        Ok(()) => format!("{name}, {what}: right\n"),
        Err(error) => format!("{name}, {what}: {error}\n"),
    }
}

/// The peers asked for, installed, with what they really can. Who fails is named and left out, or
/// left out of some rows: a machine without Node still measures the others.
pub(crate) fn able_peers(options: &Options, bench: &Bench) -> Result<Vec<Peer>> {
    let mut able = Vec::new();
    for mut peer in asked(options, bench)? {
        say(&format!("{} {}: ", peer.name, peer.version))?;
        if let Err(error) = peer.install() {
            say(&format!("left out, {error}\n"))?;
            continue;
        }
        let contestant = contestants::of(peer.clone());
        let mut abilities = Vec::new();
        for (what, load) in loads().into_iter().filter(|&(_, load)| contestant.can(load)) {
            match bench.check(&contestant, load) {
                Ok(()) => abilities.push(what),
                Err(error) => {
                    say(&format!("without {what}, {error}; "))?;
                    peer.cannot(load);
                }
            }
        }
        say(&format!("{}\n", abilities.join(", ")))?;
        able.push(peer);
    }
    Ok(able)
}

fn asked(options: &Options, bench: &Bench) -> Result<Vec<Peer>> {
    let built = bench.binaries().with_file_name("rivals");
    fs::create_dir_all(&built)?;
    let all = peers::read(Path::new("bench/rivals"), &built.canonicalize()?)?;
    Ok(all.into_iter().filter(|peer| options.wants(&peer.name)).collect())
}
