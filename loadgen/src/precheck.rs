//! What can be told before a run about its end: whether its results can be written, and whether it
//! tells what conditions ask. The options themselves are the command line's business.

use std::path::Path;

use crate::cli::{CompareArguments, LoadKind, Mode, Raised, ServerArguments};
use crate::expect::{Expectation, FAULTS, LATENCY, SERVER};
use crate::failure::Failure;
use crate::output::check_file;

/// Refuses a run whose result would be lost.
pub(crate) fn check(mode: &Mode) -> Result<(), Failure> {
    let output = mode.output();
    let mut taken: Vec<(&str, &Path)> = Vec::new();
    for (option, path) in output.files() {
        if let Some((other, _)) = taken.iter().find(|(_, taken)| *taken == path) {
            let path = path.display();
            return Err(Failure::usage(format!("{option} {path}: {other} goes there already")));
        }
        check_file(option, path)?;
        taken.push((option, path));
    }
    check_counting(mode)?;
    if output.hgrm.is_some() && !has_one_distribution(mode) {
        return Err(Failure::usage("--hgrm: this mode has no single distribution of latencies"));
    }
    if let Some(expected) = &output.expect {
        check_figures("--expect", expected, &told_by(mode))?;
    }
    match mode {
        Mode::Search(arguments) if arguments.think.is_some() && arguments.raise == Raised::Rate => {
            Err(Failure::usage(
                "--think: a rate is raised; with --raise connections there may be pauses",
            ))
        }
        Mode::Search(arguments) => {
            check_figures("--slo", &arguments.slo, &of_trial(arguments.load, &arguments.server))
        }
        _ => Ok(()),
    }
}

/// Refuses to count what would not be told.
fn check_counting(mode: &Mode) -> Result<(), Failure> {
    let Some(server) = mode.server().filter(|server| server.count_system_calls) else {
        return Ok(());
    };
    let refused = |cause| Err(Failure::usage(format!("--count-system-calls: {cause}")));
    match mode {
        Mode::Search(_) | Mode::Compare(_) | Mode::Slow(_) => {
            refused("this mode does not tell them")
        }
        _ if !server.is_watched() => refused("it takes --server-pid or --server-cmd"),
        _ => Ok(()),
    }
}

fn has_one_distribution(mode: &Mode) -> bool {
    !matches!(mode, Mode::Headers(_) | Mode::Matrix(_) | Mode::Search(_) | Mode::FuzzingClient(_))
}

fn check_figures(option: &str, asked: &Expectation, told: &[&str]) -> Result<(), Failure> {
    match asked.figures().find(|figure| !told.contains(figure)) {
        None => Ok(()),
        Some(figure) => Err(Failure::usage(format!(
            "{option} {figure}: this run does not tell it, but: {}",
            if told.is_empty() { "nothing".to_owned() } else { told.join(", ") }
        ))),
    }
}

/// The figures that a run tells when nothing goes wrong.
fn told_by(mode: &Mode) -> Vec<&'static str> {
    match mode {
        Mode::Echo(arguments) => {
            let lag = arguments.rate.pace().map(|_| "lag");
            with(of_echo(&arguments.server), &lag.into_iter().collect::<Vec<_>>())
        }
        Mode::Headers(arguments) => of_echo(&arguments.server),
        Mode::Churn(arguments) => of_run(&arguments.server, &["syscalls-per-cycle"]),
        Mode::Idle(arguments) => {
            let pings: &[_] =
                if arguments.ping_interval.is_some() { &["ping", "lag"] } else { &[] };
            let memory: &[_] =
                if arguments.server.is_watched() { &["bytes-per-connection"] } else { &[] };
            let calls: &[_] = match arguments.server.count_system_calls {
                true => &["syscalls-per-connection"],
                false => &[],
            };
            let told = with(with(LATENCY.to_vec(), &FAULTS), &["rate"]);
            with(told, &[pings, memory, calls].concat())
        }
        Mode::Fanout(arguments) => {
            let lag = arguments.rate.pace().map(|_| "lag");
            let told = with(of_trial(LoadKind::Fanout, &arguments.server), &["completion"]);
            with(told, &lag.into_iter().collect::<Vec<_>>())
        }
        Mode::Slow(arguments) => of_trial(arguments.load, &arguments.server),
        Mode::Matrix(arguments) => of_trial(arguments.load, &arguments.server),
        Mode::Search(arguments) => match arguments.raise {
            Raised::Rate => vec!["rate"],
            Raised::Connections => vec!["connections"],
        },
        Mode::Compare(arguments) => of_comparison(arguments),
        Mode::FuzzingClient(_) => Vec::new(),
    }
}

fn with(mut told: Vec<&'static str>, more: &[&'static str]) -> Vec<&'static str> {
    told.extend(more);
    told
}

/// Of a run of echoes.
fn of_echo(server: &ServerArguments) -> Vec<&'static str> {
    of_run(server, &["syscalls-per-message"])
}

/// Of any run, with what its system calls are called.
fn of_run(server: &ServerArguments, calls: &[&'static str]) -> Vec<&'static str> {
    let told = with(with(LATENCY.to_vec(), &FAULTS), &["rate"]);
    match (server.is_watched(), server.count_system_calls) {
        (false, _) => told,
        (true, false) => with(told, &SERVER),
        (true, true) => with(with(told, &SERVER), calls),
    }
}

/// Of one run of a study.
fn of_trial(load: LoadKind, server: &ServerArguments) -> Vec<&'static str> {
    match load {
        LoadKind::Echo => of_echo(server),
        LoadKind::Fanout => with(of_run(server, &["syscalls-per-delivery"]), &["reach"]),
    }
}

/// The ratio of CPU times needs both.
fn of_comparison(arguments: &CompareArguments) -> Vec<&'static str> {
    let b_is_watched = arguments.server_pid_b.is_some() || arguments.server_cmd_b.is_some();
    let both = arguments.server.is_watched() && b_is_watched;
    let all =
        crate::modes::compare::ratio_figures().filter(|name| both || !name.starts_with("cpu"));
    with(FAULTS.to_vec(), &all.collect::<Vec<_>>())
}
