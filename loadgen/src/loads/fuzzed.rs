//! A client under test by a fuzzing server: asks for the number of cases, runs each by sending
//! back whatever comes, and asks for the report. It judges nothing; the server does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ringsock::client::Outbound;
use ringsock::http::Request;
use ringsock::protocol::handshake::Status;
use ringsock::{CloseCode, CloseInfo, Conn, Handler, Message, Upgrade};

use super::place::Place;
use crate::failure::{Failure, Phase};
use crate::target::Target;

/// How far the cases are.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Cases there are, once the server has said so.
    pub(crate) cases: AtomicU32,
    /// The case that runs.
    pub(crate) running: AtomicU32,
    /// Cases that could not be opened.
    pub(crate) unopened: AtomicU32,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errand {
    /// Asks how many cases there are.
    Count,
    /// Runs a case.
    Run(u32),
    /// Has the reports written.
    Report,
}

impl Errand {
    /// What follows when there are `cases` of them.
    fn next(self, cases: u32) -> Option<Self> {
        match self {
            Self::Count if cases > 0 => Some(Self::Run(1)),
            Self::Run(case) if case < cases => Some(Self::Run(case + 1)),
            Self::Run(_) => Some(Self::Report),
            Self::Count | Self::Report => None,
        }
    }

    fn path(self, agent: &str) -> String {
        match self {
            Self::Count => "/getCaseCount".to_owned(),
            Self::Run(case) => format!("/runCase?case={case}&agent={agent}"),
            Self::Report => format!("/updateReports?agent={agent}"),
        }
    }
}

/// The client; it has one connection at a time.
pub(crate) struct FuzzedClient {
    target: Target,
    /// Percent-encoded.
    agent: String,
    progress: Arc<Progress>,
    place: Place,
}

impl FuzzedClient {
    pub(crate) fn new(
        target: &Target,
        agent: &str,
        progress: &Arc<Progress>,
        place: Place,
    ) -> Self {
        let (target, progress) = (target.clone(), Arc::clone(progress));
        Self { target, agent: percent_encoded(agent), progress, place }
    }

    fn open(&self, errand: Errand, outbound: &mut Outbound<Errand>) {
        if let Errand::Run(case) = errand {
            self.progress.running.store(case, Ordering::Relaxed);
        }
        self.place.tally.started.add(1);
        match self.target.at(&errand.path(&self.agent)).request(0) {
            Ok(request) => outbound.connect(request, errand),
            Err(failure) => self.place.board.fail(failure),
        }
    }

    /// Goes on to what follows; after the report there is nothing, and the run is complete.
    fn follow(&self, errand: Errand, outbound: &mut Outbound<Errand>) {
        let cases = self.progress.cases.load(Ordering::Relaxed);
        match errand.next(cases) {
            Some(next) => self.open(next, outbound),
            None if errand == Errand::Report => self.place.tally.cycles.add(1),
            None => {
                let cause = "the server has not said how many cases it has";
                self.place.board.fail(Failure::of_server(&self.target, Phase::Echo, cause));
            }
        }
    }
}

impl Handler for FuzzedClient {
    type State = Errand;

    fn on_start(&mut self, outbound: &mut Outbound<Errand>) {
        // One connection at a time needs one shard.
        if self.place.shard.shard == 0 {
            self.open(Errand::Count, outbound);
        }
    }

    fn on_upgrade(&mut self, _: &Request<'_>) -> Upgrade<Errand> {
        Upgrade::reject(Status::NOT_FOUND, "nothing is served here")
    }

    fn on_open(&mut self, _: &mut Conn<'_, Errand>) {
        self.place.tally.opened.add(1);
    }

    fn on_message(&mut self, conn: &mut Conn<'_, Errand>, message: Message<'_>) {
        self.place.tally.note_received(message.bytes().len());
        match *conn.state() {
            Errand::Run(_) => {
                // When it cannot be queued, the connection is ending, which the server sees.
                let _ = conn.send(message);
            }
            Errand::Count => {
                let number = message.as_text().and_then(|text| text.trim().parse().ok());
                self.progress.cases.store(number.unwrap_or(0), Ordering::Relaxed);
                conn.close(CloseCode::NORMAL, "");
            }
            Errand::Report => {}
        }
    }

    fn on_close(&mut self, conn: &mut Conn<'_, Errand>, _: CloseInfo<'_>) {
        let errand = *conn.state();
        self.follow(errand, conn.outbound());
    }

    fn on_connect_failed(&mut self, outbound: &mut Outbound<Errand>, errand: Errand, reason: &str) {
        if self.place.board.is_closing() {
            return;
        }
        match errand {
            Errand::Run(case) => {
                self.progress.unopened.fetch_add(1, Ordering::Relaxed);
                self.place.board.note_fault(|| format!("case {case}: {reason}"));
                self.follow(errand, outbound);
            }
            Errand::Count | Errand::Report => {
                let phase = Phase::of_reason(reason);
                self.place.board.fail(Failure::of_server(&self.target, phase, reason));
            }
        }
    }
}

/// A text as a query value: unreserved characters as they are (RFC 3986 section 2.3).
fn percent_encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out += &format!("%{byte:02X}"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_runs_once_between_the_count_and_the_report() {
        let mut errands = vec![Errand::Count];
        while let Some(next) = errands.last().and_then(|last| last.next(3)) {
            errands.push(next);
        }
        let run = Errand::Run;
        assert_eq!(errands, [Errand::Count, run(1), run(2), run(3), Errand::Report]);
        assert_eq!(Errand::Count.next(0), None);
    }

    #[test]
    fn an_agent_with_spaces_is_one_query_value() {
        let agent = percent_encoded("ring sock/0.1&ü");
        assert_eq!(agent, "ring%20sock%2F0.1%26%C3%BC");
        assert_eq!(Errand::Run(2).path(&agent), format!("/runCase?case=2&agent={agent}"));
    }
}
