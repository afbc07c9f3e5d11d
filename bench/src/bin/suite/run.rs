//! One run: one server, one load, one sample.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::contestants::{Contestant, PROGRAMS, Place, core_list};
use crate::entrants::Task;
use crate::idle;
use crate::load::{Cores, Load, Quantile, Work};
use crate::materials::Materials;
use crate::outcome::Sample;
use crate::process::{RunningServer, run_to_end};
use crate::wire::Caller;
use crate::{Options, Result, stopwatch, witness};

/// What a run may take beyond the seconds of load: connecting, warming up, writing the result.
const OVERHEAD_MAX: Duration = Duration::from_secs(60);

/// What single functions get of the time of a run: they need no warming up to speak of.
const COMPUTED_SHARE: f64 = 0.1;

/// How runs are made: the binaries and files, the cores, the time.
pub(crate) struct Bench {
    binaries: PathBuf,
    materials: Materials,
    caller: Caller,
    server_core: usize,
    client_core: usize,
    seconds: f64,
    warmup_seconds: f64,
}

impl Bench {
    /// Checks that the binaries are there, and makes the files.
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
        let materials = Materials::new()?;
        Ok(Self {
            binaries,
            caller: Caller::new(&materials)?,
            materials,
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

    /// Has somebody do something for a while and returns what it cost, in the unit of the row.
    pub(crate) fn run(&self, task: &Task<'_>) -> Result<Sample> {
        match task {
            Task::Serve(contestant, load) => self.load(contestant, *load),
            Task::Compute(work) => {
                let span = Duration::from_secs_f64(self.seconds * COMPUTED_SHARE);
                Ok(Sample::of(stopwatch::nanoseconds(work, self.server_core, span)?))
            }
        }
    }

    /// Puts a server under load.
    fn load(&self, contestant: &Contestant, load: Load) -> Result<Sample> {
        let mut server = self.start(contestant, load)?;
        let agreement = self.witness(&server, load)?;
        let (mode, pace, field) = match load.work {
            Work::Idle => {
                let value = idle::bytes_per_connection(&server, &self.caller, load)?;
                return Ok(Sample { agreement, ..Sample::of(value) });
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
            .args(["--server-pid", &server.id().to_string()]);
        if !load.is_at_rate() && !load.deflate {
            // Where raw servers take part, which answer with canned bytes, and what is compared with
            // such rows: for all of them the client does the same.
            ringload.arg("--trust-peer");
        }
        let result = self.result_of(&mut ringload, &mut server)?;
        let number = |field: &str| result.pointer(field).and_then(Value::as_f64);
        let value = number(field).ok_or_else(|| format!("ringload wrote no {field}: {result}"))?;
        Ok(Sample {
            // Latencies are written in microseconds.
            value: if load.is_at_rate() { value * 1000.0 } else { value },
            per_second: number("/rate_per_second"),
            p50_us: number("/latency_us/p50"),
            p99_us: number(latency(Quantile::P99)),
            agreement,
            warnings: warnings(&result),
        })
    }

    /// Has a server do a little of the load with every byte compared: an error says that it does
    /// not do the work, whatever it costs.
    pub(crate) fn check(&self, contestant: &Contestant, load: Load) -> Result<()> {
        let mut server = self.start(contestant, load)?;
        self.witness(&server, load)?;
        let mode = if load.is_fan_out() { "fanout" } else { "echo" };
        let mut ringload = self.ringload(mode, &server, load);
        ringload.args(["--connections", &load.connections.to_string(), "--pipeline", "3"]).args([
            "--warmup",
            "0",
            "--duration",
            "0.1",
            "--verify",
            "all",
        ]);
        let result = self.result_of(&mut ringload, &mut server)?;
        let count = |field: &str| result.pointer(field).and_then(Value::as_u64);
        match (count("/checked/received"), count("/checked/compared")) {
            (Some(1..), compared) if compared == count("/checked/received") => Ok(()),
            (received, compared) => {
                Err(format!("{compared:?} messages of {received:?} were compared").into())
            }
        }
    }

    fn witness(&self, server: &RunningServer, load: Load) -> Result<Option<String>> {
        witness::agreement(server.address, &self.caller, &self.materials, load)
    }

    fn start(&self, contestant: &Contestant, load: Load) -> Result<RunningServer> {
        let cores = self.server_cores(load);
        RunningServer::start(|address| {
            let (binaries, materials) = (&self.binaries, &self.materials);
            let place = Place { binaries, materials, cores: &cores, address };
            contestant.command(&place, load)
        })
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

    /// The load generator in one of its modes, tied to its cores, with the load's messages.
    fn ringload(&self, mode: &str, server: &RunningServer, load: Load) -> Command {
        let scheme = if load.tls { "wss" } else { "ws" };
        let mut command = Command::new(self.binaries.join("ringload"));
        command
            .args([mode, &format!("{scheme}://{}/", server.address)])
            .args(["--cores", &core_list(&self.client_cores(load))])
            .env("SSL_CERT_FILE", self.materials.certificate());
        if load.deflate {
            command.args(["--deflate", "--text", "--payload-file"]).arg(self.materials.document());
        } else {
            command.args(["--payload", &load.payload_bytes.to_string(), "--binary"]);
        }
        command
    }

    /// Runs the load generator and reads what it wrote.
    fn result_of(&self, ringload: &mut Command, server: &mut RunningServer) -> Result<Value> {
        let file = self.materials.result();
        let time_max = Duration::from_secs_f64(self.seconds) + OVERHEAD_MAX;
        let outcome = run_to_end(ringload.arg("--json").arg(&file), time_max);
        outcome.map_err(|error| server.explain(&*error))?;
        let text = fs::read_to_string(&file)?;
        fs::remove_file(&file)?;
        Ok(serde_json::from_str(&text)?)
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
