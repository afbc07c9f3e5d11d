//! Who is put under load: the server under test, the raw servers, the servers of others.
//!
//! What they are made to do is in `rows`; nothing is started here.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use ringsock_bench::frame_sizes::frame_bytes;

use crate::peers::{Ability, Peer};
use crate::rows::Load;

/// The name of the server under test, with the driver that is measured unless asked otherwise.
pub(crate) const OWN: &str = "ringsock";

/// A program that can be put under load.
#[derive(Clone, Debug)]
pub(crate) struct Contestant {
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// The server under test, with this driver.
    Own(&'static str),
    RawRing,
    RawEpoll,
    Peer(Peer),
}

/// Programs of ours, among the binaries, and what publishes every message to all connections.
pub(crate) const PROGRAMS: [&str; 5] = ["ringsock", FANOUT, "ringload", "raw-ring", "raw-epoll"];
const FANOUT: &str = "examples/fanout";

/// All contestants: the server under test first, then what marks the limit, then the others.
pub(crate) fn all(peers: Vec<Peer>) -> Vec<Contestant> {
    let kinds = [Kind::Own("ring"), Kind::Own("epoll"), Kind::RawRing, Kind::RawEpoll];
    let ours = kinds.into_iter().map(|kind| Contestant { kind });
    ours.chain(peers.into_iter().map(of)).collect()
}

/// A server of others, alone.
pub(crate) fn of(peer: Peer) -> Contestant {
    Contestant { kind: Kind::Peer(peer) }
}

impl Contestant {
    /// As it is printed and recorded.
    pub(crate) fn name(&self) -> &str {
        match &self.kind {
            Kind::Own("ring") => OWN,
            Kind::Own(_) => "ringsock-epoll",
            Kind::RawRing => "raw-ring",
            Kind::RawEpoll => "raw-epoll",
            Kind::Peer(peer) => &peer.name,
        }
    }

    /// The server of others that it is.
    pub(crate) fn peer(&self) -> Option<&Peer> {
        match &self.kind {
            Kind::Peer(peer) => Some(peer),
            _ => None,
        }
    }

    /// Whether it can do the work. Raw servers have no memory to speak of, and their answers do not
    /// say which message was meant, which a load with a rate must know.
    pub(crate) fn can(&self, load: Load) -> bool {
        match (&self.kind, load) {
            (Kind::Own(_), _) => true,
            (Kind::RawRing | Kind::RawEpoll, load) => {
                matches!(load, Load::Echo { .. } | Load::FanOut { .. } | Load::Churn { .. })
            }
            (Kind::Peer(peer), _) => peer.can(ability(load)),
        }
    }

    /// What starts it on `core`, listening on `address`, fit for `load`.
    pub(crate) fn command(
        &self,
        binaries: &Path,
        core: &str,
        address: SocketAddr,
        load: Load,
    ) -> Command {
        let listen = address.to_string();
        match &self.kind {
            Kind::Own(driver) => {
                let program = if load.is_fan_out() { FANOUT } else { OWN };
                let mut command = Command::new(binaries.join(program));
                if !load.is_fan_out() {
                    command.arg("echo");
                }
                command.args(["--cores", core, "--driver", driver, "--listen", &listen]);
                command
            }
            Kind::RawRing | Kind::RawEpoll => {
                let mut command = Command::new(binaries.join(self.name()));
                command.args(["--core", core, "--listen", &listen]);
                command.args(self.fitting_buffers(load.payload_bytes()));
                let bytes = |masked| frame_bytes(load.payload_bytes(), masked).to_string();
                command.args(["--request-bytes", &bytes(true)]);
                command.args(["--response-bytes", &bytes(false)]);
                if load.is_fan_out() {
                    command.arg("--fan-out");
                }
                command
            }
            Kind::Peer(peer) => tied(&peer.command(address.port(), ability(load)), core),
        }
    }

    /// Buffers that suit the messages: a raw server with unsuitable ones would be easy to equal.
    /// One message of 16 KiB with its header fits a buffer of 64 KiB, and sixteen buffers, of
    /// 256 KiB for the largest messages, stay in the second-level cache where 256 of them would
    /// not.
    fn fitting_buffers(&self, payload_bytes: usize) -> &'static [&'static str] {
        match (&self.kind, payload_bytes) {
            (Kind::RawRing, 200_000..) => &["--buffer-bytes", "262144", "--buffers", "16"],
            (Kind::RawRing, 8_000..) => &["--buffer-bytes", "65536", "--buffers", "16"],
            (Kind::RawEpoll, 200_000..) => &["--buffer-bytes", "262144"],
            _ => &[],
        }
    }
}

fn ability(load: Load) -> Ability {
    if load.is_fan_out() { Ability::FanOut } else { Ability::Echo }
}

/// The same command, tied to a core with all its threads.
fn tied(command: &Command, core: &str) -> Command {
    let mut tied = Command::new("taskset");
    tied.args(["--cpu-list", core]).arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        tied.current_dir(folder);
    }
    tied
}
