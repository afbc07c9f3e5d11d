//! The command line. Values are checked by the types they are parsed into; nothing is started
//! here.

use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use ringsock::{Cores, Driver};

use crate::config::one_line;
use crate::log::{LogFormat, check_level};

/// WebSocket servers on io_uring, one thread per core.
#[derive(Debug, Parser)]
#[command(
    name = "ringsock",
    version,
    after_help = "Every setting can stand in a file (--config), in the environment (RINGSOCK_SECTION__KEY) and in a \
        flag; later ones go first. 'ringsock print-config' shows all keys, their values and where they came from.\n\
        SIGTERM and SIGINT drain, a second one ends at once; SIGHUP reads the configuration again; SIGUSR2 starts the \
        program anew, to take over by --handover."
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sends every message back, at every path; a browser that opens / gets a page that measures.
    Echo(ServeArguments),
    /// Serves the applications that the configuration mounts at paths, and a page that lists them.
    Serve(ServeArguments),
    /// Tells whether the configuration is good, without starting anything.
    CheckConfig(ServeArguments),
    /// Prints the configuration as a file, each value with where it came from; no secrets.
    PrintConfig(ServeArguments),
    /// Tells whether io_uring works here, by using it.
    Probe,
}

/// What every command that has to do with a server understands. What is not given here may stand in
/// the environment or the file.
#[derive(Args, Clone, Debug)]
pub(crate) struct ServeArguments {
    /// The file with the configuration, in TOML [environment: RINGSOCK_CONFIG].
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where to listen, HOST:PORT or unix:/PATH; may be given more than once [default:
    /// 127.0.0.1:9001, or the sockets that a service manager passes].
    #[arg(long, value_name = "ADDR")]
    listen: Vec<String>,
    /// The cores that get a shard each: all, 0,1 or 0-3 [default: all].
    #[arg(long, value_name = "LIST", value_parser = checked::<Cores>)]
    cores: Option<String>,
    /// auto (io_uring where it works, else epoll), ring or epoll [default: auto].
    #[arg(long, value_name = "NAME", value_parser = checked::<Driver>)]
    driver: Option<String>,
    /// Where /healthz, /readyz, /metrics and /debug/connections are served, HOST:PORT, or off
    /// [default: 127.0.0.1:9601 for serve, off for echo].
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
    /// A path at which a server hands its listening sockets over to the next one that is started
    /// with it: a restart refuses and resets nobody.
    #[arg(long, value_name = "PATH")]
    handover: Option<String>,
    /// Accept permessage-deflate (RFC 7692); how is under deflate in the configuration.
    #[arg(long)]
    deflate: bool,
    /// Speak TLS with this certificate chain (PEM, the server's own first); needs --tls-key.
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,
    /// The private key of the certificate (PEM).
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,
    /// error, warn, info, debug, trace or off [default: info].
    #[arg(long, value_name = "LEVEL", value_parser = check_level)]
    log_level: Option<String>,
    /// text or json [default: text].
    #[arg(long, value_name = "FORM", value_parser = checked::<LogFormat>)]
    log_format: Option<String>,
    /// Any setting, as in limits.message_bytes_max=4MiB; may be given more than once.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// The smallest buffers and queues possible, to exercise every resume path.
    #[arg(long, hide = true)]
    pub(crate) test_tiny_buffers: bool,
}

impl ServeArguments {
    /// The flags that were given: the key each sets, its name, the values.
    pub(crate) fn flags(&self) -> Vec<(&'static str, &'static str, Vec<String>)> {
        let listen = (!self.listen.is_empty()).then(|| self.listen.clone());
        let one = |value: &Option<String>| value.clone().map(|value| vec![value]);
        let all = [
            ("server.listen", "--listen", listen),
            ("server.cores", "--cores", one(&self.cores)),
            ("server.driver", "--driver", one(&self.driver)),
            ("server.handover", "--handover", one(&self.handover)),
            ("admin.listen", "--admin", one(&self.admin)),
            ("deflate.enabled", "--deflate", self.deflate.then(|| vec!["true".to_owned()])),
            ("tls.certificate", "--tls-cert", one(&self.tls_cert)),
            ("tls.key", "--tls-key", one(&self.tls_key)),
            ("log.level", "--log-level", one(&self.log_level)),
            ("log.format", "--log-format", one(&self.log_format)),
        ];
        let given = all.into_iter().filter_map(|(key, flag, values)| Some((key, flag, values?)));
        given.collect()
    }
}

/// The text itself, if it is one of these.
fn checked<T>(text: &str) -> Result<String, T::Err>
where
    T: FromStr<Err: fmt::Display>,
{
    text.parse::<T>().map(|_| text.to_owned())
}

/// Prints a line that was asked for.
pub(crate) fn say(line: &str) {
    // A reader that has gone away is no reason to fail.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Prints an error in one line.
pub(crate) fn say_error(message: &str) {
    let _ = writeln!(std::io::stderr(), "ringsock: {}", one_line(message));
}

/// Help and version are what was asked for; anything else is one line and exit code 2.
pub(crate) fn report(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(2)
        }
        _ => {
            let text = error.to_string();
            let lines = text.lines().map(str::trim);
            let first: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
            let first = first.join(" ");
            let message = first.strip_prefix("error: ").unwrap_or(&first);
            say_error(&format!("{message}; see ringsock --help"));
            ExitCode::from(2)
        }
    }
}
