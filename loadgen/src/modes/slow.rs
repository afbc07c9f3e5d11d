//! Slow: the same load twice, first alone and then beside clients that read slowly or stop. What is
//! told is what the quick ones notice, what it costs the server and what becomes of the slow ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

use super::trial::{Study, Trial, Tried};
use crate::cli::{LoadKind, SlowArguments};
use crate::crew::{Crew, LoadSize, Watched};
use crate::exhibit::{Card, Exhibit, Series};
use crate::failure::Failure;
use crate::interrupt;
use crate::latency::LatencySummary;
use crate::loads::{Sluggards, SluggishPlan};
use crate::output::{duration_text, grouped, mib, table_text};
use crate::procfs::ProcessSample;
use crate::report::{Errors, Outcome};
use crate::target::Target;
use crate::think::Think;
use crate::truth;
use crate::watch::Watch;

/// Time at the end in which slow ones read what was sent to them, to find out who was ended.
const LAST_READ_MAX: Duration = Duration::from_secs(2);

/// The JSON form.
#[derive(Debug, Serialize)]
struct SlowReport {
    mode: &'static str,
    url: String,
    quick_connections: usize,
    slow_connections: usize,
    slow_bytes_per_second: u64,
    payload_bytes: usize,
    /// Messages a second, unless there are pauses.
    demanded_rate: Option<f64>,
    /// The mean of the pauses.
    #[serde(skip_serializing_if = "Option::is_none")]
    think_milliseconds: Option<Think>,
    interrupted: bool,
    /// Without the slow ones.
    alone: Part,
    /// Beside them.
    beside: Part,
    /// p99 beside the slow ones, divided by p99 alone.
    p99_ratio: f64,
    slow_bytes_read: u64,
    /// Slow connections that the server ended.
    slow_ended: u64,
    /// Slow connections that could not be opened.
    slow_unopened: u64,
}

/// What the quick ones noticed.
#[derive(Debug, Serialize)]
struct Part {
    seconds: f64,
    rate_per_second: f64,
    latency_us: LatencySummary,
    server_cores: Option<f64>,
    server_anon_bytes: Option<u64>,
    errors: Errors,
}

/// Runs the mode.
pub(crate) fn run(arguments: &SlowArguments) -> Result<Outcome, Failure> {
    let target = Arc::new(arguments.server.target()?);
    let slow = ((arguments.connections as f64 * arguments.slow_share).round() as usize)
        .min(arguments.connections - 1);
    let quick = arguments.connections - slow;
    let alone = measure(arguments, &target, quick, "slow, without them")?;
    if interrupt::is_interrupted() {
        return Err(Failure::interrupted());
    }
    let sluggards = SlowOnes::start(arguments, &target, slow)?;
    let beside = measure(arguments, &target, quick, "slow, beside them")?;
    let fate = sluggards.end()?;
    Ok(outcome(arguments, &target, (quick, slow), [alone, beside], fate))
}

/// The slow connections, on shards of their own.
struct SlowOnes {
    plan: Arc<SluggishPlan>,
    crew: Crew,
}

/// What became of the slow ones.
struct Fate {
    bytes_read: u64,
    /// Those that the server ended.
    ended: u64,
    unopened: u64,
}

impl SlowOnes {
    /// Opens them all.
    fn start(
        arguments: &SlowArguments,
        target: &Arc<Target>,
        connections: usize,
    ) -> Result<Self, Failure> {
        let mut content = arguments.message.content(arguments.payload, &arguments.server)?;
        // Silence is what is wanted of them.
        content.answer_timeout = None;
        let plan = Arc::new(SluggishPlan {
            target: Arc::clone(target),
            connections,
            bytes_per_second: arguments.slow_bytes_per_second,
            content,
            sends: arguments.load == LoadKind::Echo,
            join: arguments.fanout.join.clone(),
            bytes_read: AtomicU64::new(0),
        });
        let shared = Arc::clone(&plan);
        let load = LoadSize::new(connections.max(1), &plan.content, 1);
        let crew =
            Crew::start(&arguments.engine, target, Watched::default(), load, move |place| {
                Sluggards::new(&shared, place)
            })?;
        let mut watch = Watch::new("slow, opening them", None);
        crew.wait_for_open(connections, &mut watch)?;
        Ok(Self { plan, crew })
    }

    /// Lets them read what there is, for a short time, and ends them.
    fn end(self) -> Result<Fate, Failure> {
        let all = self.plan.connections as u64;
        self.crew.drain_for(LAST_READ_MAX, |totals| totals.lost + totals.unopened >= all);
        let totals = self.crew.end()?.totals();
        let bytes_read = self.plan.bytes_read.load(Ordering::Relaxed);
        Ok(Fate { bytes_read, ended: totals.lost, unopened: totals.unopened })
    }
}

/// Runs the load on the quick ones; with the server's memory afterwards.
fn measure(
    arguments: &SlowArguments,
    target: &Arc<Target>,
    connections: usize,
    label: &str,
) -> Result<(Tried, Option<u64>), Failure> {
    let study = Study {
        load: arguments.load,
        fanout: &arguments.fanout,
        server: &arguments.server,
        message: &arguments.message,
        engine: &arguments.engine,
        opening: &arguments.opening,
    };
    let server = arguments.server.watched();
    let tried = study.run(Trial {
        target: Arc::clone(target),
        connections,
        payload: arguments.payload,
        pace: Some(arguments.pace()),
        pipeline: None,
        warmup: arguments.duration / 5,
        duration: arguments.duration,
        server,
        label: label.to_owned(),
    })?;
    let sample = server.process.and_then(|process| ProcessSample::of(process).ok());
    Ok((tried, sample.map(|sample| sample.anon_bytes)))
}

fn outcome(
    arguments: &SlowArguments,
    target: &Target,
    (quick_connections, slow_connections): (usize, usize),
    [alone, beside]: [(Tried, Option<u64>); 2],
    fate: Fate,
) -> Outcome {
    let part = |(measured, server_anon_bytes): &(Tried, Option<u64>)| Part {
        seconds: measured.window.seconds,
        rate_per_second: measured.window.rate(),
        latency_us: measured.recorded.readings.latency.summary(),
        server_cores: measured.window.server.map(|server| measured.window.share(server.cpu_ns)),
        server_anon_bytes: *server_anon_bytes,
        errors: measured.errors.clone(),
    };
    let parts = [part(&alone), part(&beside)];
    let ratio = parts[1].latency_us.p99 / parts[0].latency_us.p99.max(1e-9);
    let [of_alone, of_beside] = parts;
    let report = SlowReport {
        mode: "slow",
        url: target.url(),
        quick_connections,
        slow_connections,
        slow_bytes_per_second: arguments.slow_bytes_per_second,
        payload_bytes: arguments.payload,
        demanded_rate: arguments.think.is_none().then_some(arguments.rate),
        think_milliseconds: arguments.think,
        interrupted: interrupt::is_interrupted(),
        alone: of_alone,
        beside: of_beside,
        p99_ratio: ratio,
        slow_bytes_read: fate.bytes_read,
        slow_ended: fate.ended,
        slow_unopened: fate.unopened,
    };
    let figures = beside.0.figures();
    let named = |name: &str, warnings: Vec<String>| -> Vec<(String, String)> {
        warnings.into_iter().map(|warning| (name.to_owned(), warning)).collect()
    };
    let (alone, beside) = (alone.0, beside.0);
    let warnings =
        [named("alone", alone.doubts.warnings), named("beside", beside.doubts.warnings)].concat();
    let warnings = truth::condensed(warnings);
    let exhibit = Exhibit {
        title: "Slow clients".to_owned(),
        subtitle: subtitle(&report),
        cards: cards(&report),
        series: vec![
            Series::new("alone", alone.recorded),
            Series::new("beside the slow ones", beside.recorded),
        ],
        ..Exhibit::default()
    };
    let sound = report.alone.errors.is_empty() && report.beside.errors.is_empty();
    Outcome::new(&report, text(&report), sound)
        .whole_if(report.slow_unopened == 0)
        .with_figures(figures)
        .showing(exhibit)
        .warning(warnings)
}

fn subtitle(report: &SlowReport) -> String {
    let manner = match report.slow_bytes_per_second {
        0 => "do not read".to_owned(),
        bytes => format!("read {} bytes/s", grouped(bytes as f64)),
    };
    let pace = match (report.demanded_rate, report.think_milliseconds) {
        (_, Some(think)) => format!("{think} between an answer and a message"),
        (rate, None) => format!("{} messages/s", grouped(rate.unwrap_or_default())),
    };
    format!(
        "{}: {} quick connections, {} that {manner}, {pace} of {} bytes",
        report.url,
        grouped(report.quick_connections as f64),
        grouped(report.slow_connections as f64),
        grouped(report.payload_bytes as f64)
    )
}

fn cards(report: &SlowReport) -> Vec<Card> {
    let us = |us: f64| duration_text(us * 1000.0);
    let mut cards = vec![
        Card::new("p99 alone", us(report.alone.latency_us.p99), ""),
        Card::new(
            "p99 beside slow ones",
            us(report.beside.latency_us.p99),
            format!("{:.2} times as long", report.p99_ratio),
        ),
        Card::new(
            "Slow ones ended",
            format!("{} of {}", report.slow_ended, report.slow_connections),
            "by the server",
        ),
        Card::new("Read by slow ones", format!("{} MiB", mib(report.slow_bytes_read)), ""),
    ];
    if let (Some(alone), Some(beside)) =
        (report.alone.server_anon_bytes, report.beside.server_anon_bytes)
    {
        let note = format!("{} MiB without them", mib(alone));
        cards.push(Card::new("Server memory", format!("{} MiB", mib(beside)), note));
    }
    cards
}

fn text(report: &SlowReport) -> String {
    let us = |us: f64| duration_text(us * 1000.0);
    let row = |name: &str, part: &Part| {
        vec![
            name.to_owned(),
            grouped(part.rate_per_second),
            us(part.latency_us.p50),
            us(part.latency_us.p99),
            us(part.latency_us.max),
            part.server_cores.map_or_else(|| "-".to_owned(), |cores| format!("{cores:.2}")),
            part.server_anon_bytes.map_or_else(|| "-".to_owned(), |bytes| mib(bytes) + " MiB"),
        ]
    };
    let columns =
        ["quick ones", "received/s", "p50", "p99", "max", "server cores", "server memory"];
    let rows = [row("alone", &report.alone), row("beside slow", &report.beside)];
    let mut text = format!("{}\n\n", subtitle(report).replacen(": ", ": slow, ", 1));
    text += &table_text(&columns.map(str::to_owned), &rows);
    text += &format!(
        "\nslow ones read {} MiB; the server ended {} of {} and let {} not in; p99 of the others is \
         {:.2} times as long\n",
        mib(report.slow_bytes_read),
        report.slow_ended,
        report.slow_connections,
        report.slow_unopened,
        report.p99_ratio
    );
    for (name, part) in [("alone", &report.alone), ("beside", &report.beside)] {
        if !part.errors.is_empty() {
            text += &format!("WRONG     {name}: {}\n", part.errors.text());
        }
    }
    text
}
