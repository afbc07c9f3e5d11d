//! One run: one server, one load, one sample.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::contestants::{Contestant, PROGRAMS};
use crate::idle;
use crate::outcome::Sample;
use crate::process::{RunningServer, run_to_end};
use crate::rows::Load;
use crate::{Options, Result};

/// What a run may take beyond the seconds of load: connecting, warming up, writing the result.
const OVERHEAD_MAX: Duration = Duration::from_secs(60);

/// Where ringload writes the latency that one message in a hundred exceeds.
const P99: &str = "/latency_us/p99";

/// How runs are made: the binaries, the cores, the time.
pub(crate) struct Bench {
    binaries: PathBuf,
    server_core: String,
    client_core: String,
    seconds: f64,
    warmup_seconds: f64,
}

impl Bench {
    /// Checks that the binaries are there.
    pub(crate) fn new(options: &Options) -> Result<Self> {
        let binaries = match &options.binaries {
            Some(folder) => folder.clone(),
            None => std::env::current_exe()?.parent().ok_or("no folder")?.to_path_buf(),
        };
        for name in PROGRAMS {
            if !binaries.join(name).is_file() {
                let folder = binaries.display();
                let build = "build the workspace with --release --bins --examples first";
                return Err(format!("{folder} has no {name}: {build}").into());
            }
        }
        let seconds = options.seconds();
        Ok(Self {
            binaries,
            server_core: options.server_core.to_string(),
            client_core: options.client_core.to_string(),
            seconds,
            warmup_seconds: (seconds / 3.0).min(1.0),
        })
    }

    /// The folder the binaries are in.
    pub(crate) fn binaries(&self) -> &Path {
        &self.binaries
    }

    /// Puts a server under load and returns what it cost, in the unit of the load.
    pub(crate) fn run(&self, contestant: &Contestant, load: Load) -> Result<Sample> {
        let mut server = self.start(contestant, load)?;
        match load {
            Load::Echo { connections, in_flight, .. } => {
                let mut ringload = self.ringload("echo", &server, connections, load);
                ringload.args(["--pipeline", &in_flight.to_string()]);
                self.drive(&mut ringload, &mut server, "/server/cpu_ns_per_message")
            }
            Load::FanOut { connections, in_flight, .. } => {
                let mut ringload = self.ringload("fanout", &server, connections, load);
                ringload.args(["--pipeline", &in_flight.to_string()]);
                self.drive(&mut ringload, &mut server, "/server/cpu_ns_per_delivery")
            }
            Load::EchoAtRate { connections, per_second, .. } => {
                let mut ringload = self.ringload("echo", &server, connections, load);
                ringload.args(["--rate", &per_second.to_string()]);
                self.drive(&mut ringload, &mut server, P99).map(in_nanoseconds)
            }
            Load::FanOutAtRate { connections, per_second, .. } => {
                let mut ringload = self.ringload("fanout", &server, connections, load);
                ringload.args(["--rate", &per_second.to_string()]);
                self.drive(&mut ringload, &mut server, P99).map(in_nanoseconds)
            }
            Load::Churn { connections, .. } => {
                let mut ringload = self.ringload("churn", &server, connections, load);
                self.drive(&mut ringload, &mut server, "/server/cpu_ns_per_cycle")
            }
            Load::Idle { connections, payload_bytes } => {
                idle::bytes_per_connection(&server, connections, payload_bytes).map(Sample::of)
            }
        }
    }

    /// Has a server do a little of the load with every byte compared: an error says that it does
    /// not do the work, whatever it costs.
    pub(crate) fn check(&self, contestant: &Contestant, load: Load) -> Result<()> {
        let mut server = self.start(contestant, load)?;
        let mut ringload = Command::new(self.binaries.join("ringload"));
        let kind = if load.is_fan_out() { "fanout" } else { "echo" };
        ringload
            .args([kind, &format!("ws://{}/", server.address), "--cores", &self.client_core])
            .args(["--connections", "3", "--payload", "300", "--pipeline", "3", "--verify", "all"])
            .args(["--warmup", "0", "--duration", "0.1"]);
        Ok(run_to_end(&mut ringload, OVERHEAD_MAX).map_err(|error| server.explain(&*error))?)
    }

    fn start(&self, contestant: &Contestant, load: Load) -> Result<RunningServer> {
        RunningServer::start(|address| {
            contestant.command(&self.binaries, &self.server_core, address, load)
        })
    }

    fn ringload(
        &self,
        kind: &str,
        server: &RunningServer,
        connections: usize,
        load: Load,
    ) -> Command {
        let mut command = Command::new(self.binaries.join("ringload"));
        command
            .args([kind, &format!("ws://{}/", server.address), "--binary", "--trust-peer"])
            .args(["--connections", &connections.to_string()])
            .args(["--payload", &load.payload_bytes().to_string()])
            .args(["--duration", &self.seconds.to_string()])
            .args(["--warmup", &self.warmup_seconds.to_string()])
            .args(["--cores", &self.client_core])
            .args(["--server-pid", &server.id().to_string()]);
        command
    }

    /// Runs the load generator and takes the sample out of what it wrote; `field` is its value.
    fn drive(
        &self,
        ringload: &mut Command,
        server: &mut RunningServer,
        field: &str,
    ) -> Result<Sample> {
        let file = std::env::temp_dir().join(format!("ringsock-suite-{}.json", server.id()));
        let time_max = Duration::from_secs_f64(self.seconds) + OVERHEAD_MAX;
        let outcome = run_to_end(ringload.arg("--json").arg(&file), time_max);
        outcome.map_err(|error| server.explain(&*error))?;
        let text = fs::read_to_string(&file)?;
        fs::remove_file(&file)?;
        let result: Value = serde_json::from_str(&text)?;
        let number = |field: &str| result.pointer(field).and_then(Value::as_f64);
        Ok(Sample {
            value: number(field).ok_or_else(|| format!("ringload wrote no {field}: {text}"))?,
            per_second: number("/rate_per_second"),
            p50_us: number("/latency_us/p50"),
            p99_us: number(P99),
            warnings: warnings(&result),
        })
    }
}

/// The same with a value that was in microseconds.
fn in_nanoseconds(sample: Sample) -> Sample {
    Sample { value: sample.value * 1000.0, ..sample }
}

/// What the load generator doubts.
fn warnings(result: &Value) -> Vec<String> {
    let all = result.get("warnings").and_then(Value::as_array).into_iter().flatten();
    all.filter_map(Value::as_str).map(str::to_owned).collect()
}
