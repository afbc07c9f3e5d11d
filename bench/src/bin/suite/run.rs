//! One run: one server, one load, one sample.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::contestants::{Contestant, PROGRAMS, core_list};
use crate::idle;
use crate::load::{Cores, Load, Quantile, Work};
use crate::outcome::Sample;
use crate::process::{RunningServer, run_to_end};
use crate::{Options, Result};

/// What a run may take beyond the seconds of load: connecting, warming up, writing the result.
const OVERHEAD_MAX: Duration = Duration::from_secs(60);

/// How runs are made: the binaries, the cores, the time.
pub(crate) struct Bench {
    binaries: PathBuf,
    server_core: usize,
    client_core: usize,
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
            server_core: options.server_core,
            client_core: options.client_core,
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
        let (mode, pace, field) = match load.work {
            Work::Idle => {
                let value =
                    idle::bytes_per_connection(&server, load.connections, load.payload_bytes)?;
                return Ok(Sample::of(value));
            }
            Work::Echo { in_flight } => ("echo", pipeline(in_flight), "/server/cpu_ns_per_message"),
            Work::FanOut { in_flight } => {
                ("fanout", pipeline(in_flight), "/server/cpu_ns_per_delivery")
            }
            Work::EchoAtRate { per_second, quantile } => {
                ("echo", rate(per_second), latency(quantile))
            }
            Work::FanOutAtRate { per_second, quantile } => {
                ("fanout", rate(per_second), latency(quantile))
            }
            Work::Churn => ("churn", Vec::new(), "/server/cpu_ns_per_cycle"),
        };
        let mut ringload = self.ringload(mode, &server, load);
        ringload
            .args(pace)
            .args(["--connections", &load.connections.to_string()])
            .args(["--duration", &self.seconds.to_string()])
            .args(["--warmup", &self.warmup_seconds.to_string()])
            .args(["--payload", &load.payload_bytes.to_string(), "--binary"])
            .args(["--server-pid", &server.id().to_string()]);
        if !load.is_at_rate() {
            // Raw servers take part, which answer with canned bytes; for all the client does the
            // same.
            ringload.arg("--trust-peer");
        }
        let sample = self.drive(&mut ringload, &mut server, field)?;
        // Latencies are written in microseconds.
        let unit = if load.is_at_rate() { 1000.0 } else { 1.0 };
        Ok(Sample { value: sample.value * unit, ..sample })
    }

    /// Has a server do a little of the load with every byte compared: an error says that it does
    /// not do the work, whatever it costs.
    pub(crate) fn check(&self, contestant: &Contestant, load: Load) -> Result<()> {
        let mut server = self.start(contestant, load)?;
        let mode = if load.is_fan_out() { "fanout" } else { "echo" };
        let mut ringload = self.ringload(mode, &server, load);
        ringload
            .args(["--connections", "3", "--payload", "300", "--pipeline", "3", "--verify", "all"])
            .args(["--warmup", "0", "--duration", "0.1"]);
        Ok(run_to_end(&mut ringload, OVERHEAD_MAX).map_err(|error| server.explain(&*error))?)
    }

    fn start(&self, contestant: &Contestant, load: Load) -> Result<RunningServer> {
        let cores = self.server_cores(load);
        RunningServer::start(|address| contestant.command(&self.binaries, &cores, address, load))
    }

    fn server_cores(&self, load: Load) -> Vec<usize> {
        [self.server_core, self.client_core].into_iter().take(load.shards()).collect()
    }

    fn client_cores(&self, load: Load) -> Vec<usize> {
        match load.cores {
            Cores::Apart => vec![self.client_core],
            Cores::Shared { .. } => vec![self.server_core, self.client_core],
        }
    }

    /// The load generator in one of its modes, tied to its cores.
    fn ringload(&self, mode: &str, server: &RunningServer, load: Load) -> Command {
        let mut command = Command::new(self.binaries.join("ringload"));
        command
            .args([mode, &format!("ws://{}/", server.address)])
            .args(["--cores", &core_list(&self.client_cores(load))]);
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
            p99_us: number(latency(Quantile::P99)),
            warnings: warnings(&result),
        })
    }
}

/// So many messages under way.
fn pipeline(in_flight: usize) -> Vec<String> {
    vec!["--pipeline".into(), in_flight.to_string()]
}

/// Messages that are due at a rate.
fn rate(per_second: u32) -> Vec<String> {
    vec!["--rate".into(), per_second.to_string()]
}

/// Where ringload writes a latency.
fn latency(quantile: Quantile) -> &'static str {
    match quantile {
        Quantile::P99 => "/latency_us/p99",
        Quantile::P999 => "/latency_us/p999",
    }
}

/// What the load generator doubts.
fn warnings(result: &Value) -> Vec<String> {
    let all = result.get("warnings").and_then(Value::as_array).into_iter().flatten();
    all.filter_map(Value::as_str).map(str::to_owned).collect()
}
