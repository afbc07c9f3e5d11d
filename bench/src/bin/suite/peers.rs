//! The servers of others: read from `peers.toml`, installed, started.
//!
//! Nothing is known here of any of them; what differs is in the file and in their folders.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::Result;

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

    /// Whether it can be asked for that.
    pub(crate) fn can(&self, ability: Ability) -> bool {
        self.can.contains(&ability)
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

    /// What starts it on a port.
    pub(crate) fn command(&self, port: u16, ability: Ability) -> Command {
        let mode = match ability {
            Ability::Echo => "",
            Ability::FanOut => "fan-out",
            Ability::Deflate => "deflate",
        };
        let run = self.run.replace("{port}", &port.to_string()).replace("{mode}", mode);
        let mut words = run.split_whitespace();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).current_dir(&self.folder);
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn every_peer_echoes_and_is_told_where_to_listen() {
        for peer in peers() {
            assert!(peer.can(Ability::Echo), "{}", peer.name);
            let command = format!("{:?}", peer.command(4711, Ability::Echo));
            assert!(command.contains("4711") && !command.contains(['{', '}']), "{command}");
            let mode = format!("{:?}", peer.command(4711, Ability::FanOut));
            assert_eq!(mode.contains("fan-out"), peer.can(Ability::FanOut), "{}", peer.name);
        }
    }
}
