//! Why a run could not be made or did not hold, in one line. Nothing is decided here but the exit
//! code; counts of lost and wrong messages are part of a report, not failures.

use std::fmt;

use crate::interrupt;
use crate::target::Target;

/// What was being done when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Looking the host up.
    Resolve,
    /// The TCP connection.
    Connect,
    /// The opening handshake.
    Handshake,
    /// The messages.
    Echo,
}

impl Phase {
    /// The phase a connection failed in. The engine tells one reason for both: those of the
    /// connect are the system's errors, which end in their number.
    pub(crate) fn of_reason(reason: &str) -> Self {
        if reason.contains("(os error ") { Self::Connect } else { Self::Handshake }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Handshake => "handshake",
            Self::Echo => "echo",
        })
    }
}

/// An error that ends the run, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    text: String,
    exit_code: u8,
}

impl Failure {
    /// The command line or the machine does not allow the run (exit code 2).
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        Self { text: text.into(), exit_code: 2 }
    }

    /// The user ended the run before there was anything to tell.
    pub(crate) fn interrupted() -> Self {
        let text = "interrupted before anything was measured".to_owned();
        Self { text, exit_code: interrupt::EXIT_CODE }
    }

    /// The server could not be reached (exit code 2) or, once messages flow, failed (exit code 1).
    pub(crate) fn of_server(target: &Target, phase: Phase, cause: &str) -> Self {
        let exit_code = if phase == Phase::Echo { 1 } else { 2 };
        Self { text: format!("{}: {phase}: {cause}", target.endpoint()), exit_code }
    }

    /// What the process ends with.
    pub(crate) fn exit_code(&self) -> u8 {
        self.exit_code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::{Greeting, Trust};

    #[test]
    fn a_refused_connect_is_told_from_a_refused_handshake() {
        let refused = std::io::Error::from_raw_os_error(111).to_string();
        assert_eq!(Phase::of_reason(&refused), Phase::Connect);
        assert_eq!(Phase::of_reason("no answer within 10s"), Phase::Handshake);
    }

    #[test]
    fn a_server_that_cannot_be_reached_is_no_lost_message() {
        let target =
            Target::parse("ws://127.0.0.1:9/", Trust::Nothing, Greeting::default()).unwrap();
        let failure = Failure::of_server(&target, Phase::Connect, "refused");
        assert_eq!(
            (failure.exit_code(), failure.to_string().as_str()),
            (2, "127.0.0.1:9: connect: refused")
        );
        assert_eq!(Failure::of_server(&target, Phase::Echo, "stalled").exit_code(), 1);
    }
}
