//! The servers of others: read from `peers.toml`, installed, started.
//!
//! Nothing is known here of any of them; what differs is in the file and in their folders.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::Result;
use crate::load::Load;
use crate::materials::Materials;

/// One server, as `peers.toml` describes it; the file explains the fields.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) version: String,
    folder: PathBuf,
    pinned: PathBuf,
    install: String,
    run: String,
    can: Vec<Ability>,
    pub(crate) headline: bool,
}

/// What a peer can be asked for.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ability {
    Echo,
    FanOut,
    Deflate,
    Tls,
}

impl Ability {
    /// What a load asks for.
    fn asked_by(load: Load) -> impl Iterator<Item = Self> {
        [
            (true, if load.is_fan_out() { Self::FanOut } else { Self::Echo }),
            (load.deflate, Self::Deflate),
            (load.tls, Self::Tls),
        ]
        .into_iter()
        .filter_map(|(asked, ability)| asked.then_some(ability))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Peers {
    peer: Vec<Peer>,
}

/// All peers described in `rivals/peers.toml`; `built` is where they are installed. Each has the
/// version it says, or it is an error.
pub(crate) fn read(rivals: &Path, built: &Path) -> Result<Vec<Peer>> {
    let file = rivals.join("peers.toml");
    let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    let peers: Peers = toml::from_str(&text)?;
    let built = built.to_str().ok_or("the folder to build in has no name in UTF-8")?;
    let placed = peers.peer.into_iter().map(|peer| Peer {
        folder: rivals.join(&peer.folder),
        install: peer.install.replace("{built}", built),
        run: peer.run.replace("{built}", built),
        ..peer
    });
    let placed: Vec<Peer> = placed.collect();
    placed.iter().try_for_each(Peer::check_version)?;
    Ok(placed)
}

impl Peer {
    fn check_version(&self) -> Result<()> {
        let (name, version) = (self.name.to_lowercase(), &self.version);
        let file = self.folder.join(&self.pinned);
        let pinned =
            fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        let forms = [
            format!("name = \"{name}\"\nversion = \"{version}\"\n"),
            format!("\"node_modules/{name}\": {{\n      \"version\": \"{version}\""),
            format!("{name}=={version}\n"),
            format!("\nversion={version}\n"),
        ];
        if forms.iter().any(|form| pinned.contains(form)) {
            return Ok(());
        }
        Err(format!("peers.toml says {name} {version}, and {} does not", file.display()).into())
    }

    /// Whether it can be put under that load. It has one thread.
    pub(crate) fn can(&self, load: Load) -> bool {
        load.shards() == 1 && Ability::asked_by(load).all(|ability| self.can.contains(&ability))
    }

    /// Takes back what it says of itself: it was asked for this load and cannot do it.
    pub(crate) fn cannot(&mut self, load: Load) {
        let unable = Ability::asked_by(load).last();
        self.can.retain(|&ability| Some(ability) != unable);
    }

    /// Brings what it needs and builds it, unless it is there.
    pub(crate) fn install(&self) -> Result<()> {
        let mut command = Command::new("sh");
        command.args(["-c", &self.install]).current_dir(&self.folder).stdin(Stdio::null());
        let output = command.output()?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let last = said.lines().rev().find(|line| !line.is_empty()).unwrap_or_default();
        Err(format!("not installed ({}): {last}", output.status).into())
    }

    /// What starts it on a port, fit for a load.
    pub(crate) fn command(&self, port: u16, load: Load, materials: &Materials) -> Command {
        let mode = match (load.is_fan_out(), load.deflate) {
            (true, _) => "fan-out",
            (false, true) => "deflate",
            (false, false) => "",
        };
        let run = self.run.replace("{port}", &port.to_string()).replace("{mode}", mode);
        let mut words = run.split_whitespace();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).current_dir(&self.folder);
        if load.tls {
            command.env("TLS_CERT", materials.certificate()).env("TLS_KEY", materials.key());
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Work;

    fn peers() -> Vec<Peer> {
        let rivals = Path::new(env!("CARGO_MANIFEST_DIR")).join("rivals");
        read(&rivals, Path::new("/built")).unwrap()
    }

    #[test]
    fn a_version_other_than_the_pinned_one_is_refused() {
        for mut peer in peers() {
            assert!(peer.check_version().is_ok());
            peer.version.push('9');
            assert!(peer.check_version().is_err(), "{}", peer.name);
        }
    }

    #[test]
    fn every_peer_echoes_and_is_told_where_to_listen_and_what_to_do() {
        let materials = Materials::new().unwrap();
        let echo = Load::new(Work::Echo { in_flight: 1 }, 1, 20);
        let fan_out = Load::new(Work::FanOut { in_flight: 1 }, 1, 20);
        for peer in peers() {
            let command = |load| format!("{:?}", peer.command(4711, load, &materials));
            assert!(peer.can(echo) && !peer.can(echo.on_shards(2)), "{}", peer.name);
            let plain = command(echo);
            assert!(plain.contains("4711") && !plain.contains(['{', '}']), "{plain}");
            assert!(!plain.contains("TLS_CERT") && command(echo.over_tls()).contains("TLS_CERT"));
            for (load, word) in [(fan_out, "fan-out"), (echo.deflated(), "deflate")] {
                assert!(command(load).contains(word) || !peer.can(load), "{}", peer.name);
            }
        }
    }

    #[test]
    fn a_peer_that_cannot_do_what_it_says_still_does_the_rest() {
        let echo = Load::new(Work::Echo { in_flight: 1 }, 1, 20);
        let mut bun = peers().into_iter().find(|peer| peer.name == "Bun").unwrap();
        bun.cannot(echo.over_tls());
        assert!(bun.can(echo) && bun.can(echo.deflated()) && !bun.can(echo.over_tls()));
        bun.cannot(echo);
        assert!(!bun.can(echo) && !bun.can(echo.deflated()));
    }
}
