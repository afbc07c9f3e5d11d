//! One run: one server, one load, one number.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ringsock_bench::frame_sizes::frame_bytes;
use serde_json::Value;

use crate::process::{RunningServer, run_to_end};
use crate::rows::{Load, Row, Server};
use crate::{Options, Result, idle};

/// What a run may take beyond the seconds of load: connecting, warming up, writing the result.
const OVERHEAD_MAX: Duration = Duration::from_secs(60);

/// How runs are made: the binaries, the cores, the time.
pub(crate) struct Bench {
    binaries: PathBuf,
    server_core: String,
    client_core: String,
    driver: String,
    seconds: f64,
}

impl Bench {
    /// Checks that the binaries are there.
    pub(crate) fn new(options: &Options) -> Result<Self> {
        let binaries = match &options.binaries {
            Some(folder) => folder.clone(),
            None => std::env::current_exe()?.parent().ok_or("no folder")?.to_path_buf(),
        };
        for name in ["ringsock", "ringload", "raw-ring", "raw-epoll"] {
            if !binaries.join(name).is_file() {
                let folder = binaries.display();
                return Err(format!(
                    "{folder} has no {name}: build the workspace with --release first"
                )
                .into());
            }
        }
        Ok(Self {
            binaries,
            server_core: options.server_core.to_string(),
            client_core: options.client_core.to_string(),
            driver: options.driver.clone(),
            seconds: options.seconds,
        })
    }

    /// The folder the binaries are in.
    pub(crate) fn binaries(&self) -> &Path {
        &self.binaries
    }

    /// Puts `server` under the load of `row` and returns what it cost, in the unit of the load.
    pub(crate) fn run(&self, row: &Row, server: Server) -> Result<f64> {
        let program = self.binaries.join(server.name());
        let running =
            RunningServer::start(&program, |address| self.arguments(server, address, row.load))?;
        match row.load {
            Load::Echo { connections, payload_bytes, in_flight } => {
                let mut ringload = self.ringload("echo", &running, connections, payload_bytes);
                ringload.args(["--pipeline", &in_flight.to_string()]);
                self.drive(&mut ringload, &running, "/server/cpu_ns_per_message")
            }
            Load::Churn { connections, payload_bytes } => {
                let mut ringload = self.ringload("churn", &running, connections, payload_bytes);
                self.drive(&mut ringload, &running, "/server/cpu_ns_per_cycle")
            }
            Load::Idle { connections, payload_bytes } => {
                idle::bytes_per_connection(&running, connections, payload_bytes)
            }
        }
    }

    fn arguments(&self, server: Server, address: SocketAddr, load: Load) -> Vec<String> {
        let mut arguments: Vec<String> = match server {
            Server::Ringsock => {
                let driver = self.driver.as_str();
                ["echo", "--cores", &self.server_core, "--driver", driver].map(Into::into).into()
            }
            Server::RawRing | Server::RawEpoll => {
                let request = frame_bytes(load.payload_bytes(), true).to_string();
                let response = frame_bytes(load.payload_bytes(), false).to_string();
                let mut arguments = vec!["--core".into(), self.server_core.clone()];
                arguments.extend(["--request-bytes".into(), request]);
                arguments.extend(["--response-bytes".into(), response]);
                arguments.extend(fitting_buffers(server, load.payload_bytes()));
                arguments
            }
        };
        arguments.extend(["--listen".into(), address.to_string()]);
        arguments
    }

    fn ringload(
        &self,
        kind: &str,
        server: &RunningServer,
        connections: usize,
        payload_bytes: usize,
    ) -> Command {
        let mut command = Command::new(self.binaries.join("ringload"));
        command
            .args([kind, &format!("ws://{}/", server.address), "--binary", "--trust-peer"])
            .args(["--connections", &connections.to_string()])
            .args(["--payload", &payload_bytes.to_string()])
            .args(["--duration", &self.seconds.to_string()])
            .args(["--cores", &self.client_core])
            .args(["--server-pid", &server.id().to_string()]);
        command
    }

    /// Runs the load generator and takes the named number out of what it wrote.
    fn drive(&self, ringload: &mut Command, server: &RunningServer, field: &str) -> Result<f64> {
        let file = std::env::temp_dir().join(format!("ringsock-limits-{}.json", server.id()));
        let time_max = Duration::from_secs_f64(self.seconds) + OVERHEAD_MAX;
        run_to_end(ringload.arg("--json").arg(&file), time_max)?;
        let text = fs::read_to_string(&file)?;
        fs::remove_file(&file)?;
        let result: Value = serde_json::from_str(&text)?;
        let number = result.pointer(field).and_then(Value::as_f64);
        Ok(number.ok_or_else(|| format!("ringload wrote no {field}: {text}"))?)
    }
}

/// Buffers that suit the messages: a raw server with unsuitable ones would be easy to equal. One
/// message of 16 KiB with its header fits a buffer of 64 KiB, and sixteen buffers, of 256 KiB for
/// the largest messages, stay in the second-level cache where 256 of them would not.
fn fitting_buffers(server: Server, payload_bytes: usize) -> Vec<String> {
    let flags: &[&str] = match (server, payload_bytes) {
        (Server::RawRing, 200_000..) => &["--buffer-bytes", "262144", "--buffers", "16"],
        (Server::RawRing, 8_000..) => &["--buffer-bytes", "65536", "--buffers", "16"],
        (Server::RawEpoll, 200_000..) => &["--buffer-bytes", "262144"],
        _ => &[],
    };
    flags.iter().map(|&flag| flag.into()).collect()
}
