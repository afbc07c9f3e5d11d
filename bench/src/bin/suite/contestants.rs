//! Who is put under load: the server under test, the raw servers, the servers of others.
//!
//! What they are made to do is in `rows`; nothing is started here.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use ringsock_bench::frame_sizes::frame_bytes;

use crate::load::{Load, Work};
use crate::materials::Materials;
use crate::peers::Peer;

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
    let raw = [Kind::RawRing, Kind::RawEpoll].map(|kind| Contestant { kind });
    own().into_iter().chain(raw).chain(peers.into_iter().map(of)).collect()
}

/// The server under test, with each driver.
pub(crate) fn own() -> [Contestant; 2] {
    ["ring", "epoll"].map(|driver| Contestant { kind: Kind::Own(driver) })
}

/// Where a server runs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// The folder with our programs.
    pub(crate) binaries: &'a Path,
    pub(crate) materials: &'a Materials,
    /// One for each shard.
    pub(crate) cores: &'a [usize],
    /// Where it listens.
    pub(crate) address: SocketAddr,
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

    /// Whether it is one of this project.
    pub(crate) fn is_ours(&self) -> bool {
        !matches!(self.kind, Kind::Peer(_))
    }

    /// Whether it can do the work. Raw servers have no memory to speak of, and their answers do not
    /// say which message was meant, which a load with a rate must know. The one over epoll has one
    /// thread.
    pub(crate) fn can(&self, load: Load) -> bool {
        match &self.kind {
            Kind::Own(_) => true,
            Kind::RawRing => is_for_raw(load),
            Kind::RawEpoll => is_for_raw(load) && load.shards() == 1,
            Kind::Peer(peer) => peer.can(load),
        }
    }

    /// What starts it in a place, fit for `load`.
    pub(crate) fn command(&self, place: &Place<'_>, load: Load) -> Command {
        let &Place { binaries, materials, cores, address } = place;
        let listen = address.to_string();
        match &self.kind {
            Kind::Own(driver) => {
                let program = if load.is_fan_out() { FANOUT } else { OWN };
                let mut command = Command::new(binaries.join(program));
                if !load.is_fan_out() {
                    command.arg("echo");
                }
                command.args(["--cores", &core_list(cores), "--driver", driver]);
                command.args(["--listen", &listen]);
                if load.tls {
                    command.arg("--tls-cert").arg(materials.certificate());
                    command.arg("--tls-key").arg(materials.key());
                }
                if load.deflate {
                    command.arg("--deflate");
                }
                command
            }
            Kind::RawRing | Kind::RawEpoll => {
                let mut command = Command::new(binaries.join(self.name()));
                command.args(["--core", &core_list(&cores[..1]), "--listen", &listen]);
                if cores.len() > 1 {
                    command.args(["--further-cores", &core_list(&cores[1..])]);
                }
                command.args(self.fitting_buffers(load.payload_bytes));
                let bytes = |masked| frame_bytes(load.payload_bytes, masked).to_string();
                command.args(["--request-bytes", &bytes(true)]);
                command.args(["--response-bytes", &bytes(false)]);
                if load.is_fan_out() {
                    command.arg("--fan-out");
                }
                command
            }
            Kind::Peer(peer) => tied(&peer.command(address.port(), load, materials), cores),
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

fn is_for_raw(load: Load) -> bool {
    !load.tls
        && !load.deflate
        && matches!(load.work, Work::Echo { .. } | Work::FanOut { .. } | Work::Churn)
}

/// Cores as all programs understand them: `0,1`.
pub(crate) fn core_list(cores: &[usize]) -> String {
    cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

/// The same command, tied to cores with all its threads.
fn tied(command: &Command, cores: &[usize]) -> Command {
    let mut tied = Command::new("taskset");
    tied.args(["--cpu-list", &core_list(cores)])
        .arg(command.get_program())
        .args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        tied.current_dir(folder);
    }
    tied.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    tied
}
