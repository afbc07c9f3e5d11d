//! Runs the rows of a table against a server under test, each in all its splits, and reports what
//! was answered differently. Nothing here knows whether the server is in memory or behind a socket.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::compose::{self, ACCEPT, Act};
use crate::row::{Deadline, End, Expectation, ExpectedFrame, Number, OneOrMany, Payload, Row};
use crate::split::{self, Plan};
use crate::subject::{Link, Received, Subject};
use crate::verdict::{self, Arrived, Judgement};

/// What came of a table.
#[derive(Default)]
pub(crate) struct Report {
    /// Rows that were run.
    pub(crate) rows: usize,
    /// Connections made for them.
    pub(crate) runs: usize,
    /// Ids of rows left out because this subject cannot wait for deadlines.
    pub(crate) left_out: Vec<String>,
    /// The first wrong answer of each row that got one.
    pub(crate) failures: Vec<Failure>,
}

/// A wrong answer.
pub(crate) struct Failure {
    id: String,
    name: String,
    split: String,
    sent: String,
    expected: String,
    got: String,
    wrong: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}: {}", self.id, self.name)?;
        writeln!(out, "   split     {}", self.split)?;
        writeln!(out, "   sent      {}", self.sent)?;
        writeln!(out, "   expected  {}", self.expected)?;
        writeln!(out, "   got       {}", self.got)?;
        write!(out, "   wrong     {}", self.wrong)
    }
}

impl Report {
    fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.runs += other.runs;
        self.left_out.extend(other.left_out);
        self.failures.extend(other.failures);
    }

    /// Ends a test: panics with every failure, or when nothing ran.
    pub(crate) fn conclude(&self, subject: &str) {
        let Self { rows, runs, left_out, failures } = self;
        let failed = failures.len();
        announce(subject, *rows, *runs, failed, left_out.len());
        assert!(*runs > 0, "no row was run against {subject}");
        let listed: Vec<_> = failures.iter().map(Failure::to_string).collect();
        assert!(failures.is_empty(), "{failed} of {rows} rows failed:\n{}", listed.join("\n"));
    }
}

/// Says how much was run. Not printed, which a test that passes does in vain: the counts are always
/// to be seen.
pub(crate) fn announce(subject: &str, rows: usize, runs: usize, failed: usize, left_out: usize) {
    let counts =
        format!("{subject}: rows {rows}, runs {runs}, failed {failed}, left out {left_out}\n");
    let _ = std::io::stderr().write_all(counts.as_bytes());
}

/// Rows run at the same time: most of their time is waiting.
const SIDE_BY_SIDE: usize = 8;

/// Runs the rows several at a time, against a subject that serves many.
pub(crate) fn run_side_by_side(subject: &(dyn Subject + Sync), rows: &[Row]) -> Report {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut report = Report::default();
        while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
            report.add(run(subject, std::slice::from_ref(row)));
        }
        report
    };
    let mut report = Report::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..SIDE_BY_SIDE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().for_each(|worker| report.add(worker.join().expect("a worker ends")));
    });
    report
}

/// Runs every row that `subject` can run.
pub(crate) fn run(subject: &dyn Subject, rows: &[Row]) -> Report {
    let mut report = Report::default();
    for row in rows {
        if row.slow && subject.deadline(Deadline::Handshake).is_none() {
            report.left_out.push(row.id.clone());
            continue;
        }
        report.rows += 1;
        let acts = compose::acts(&row.send, ACCEPT)
            .unwrap_or_else(|error| panic!("row {} cannot be sent: {error}", row.id));
        for plan in split::plans(&acts, &row.split, subject.effort()) {
            report.runs += 1;
            let mut attempt = Attempt { subject, row, arrived: Arrived::default() };
            if let Err(wrong) = attempt.run(&plan) {
                report.failures.push(attempt.failure(&plan, wrong));
                break;
            }
        }
    }
    report
}

/// One connection made for one row.
struct Attempt<'a> {
    subject: &'a dyn Subject,
    row: &'a Row,
    arrived: Arrived,
}

impl Attempt<'_> {
    fn run(&mut self, plan: &Plan) -> Result<(), String> {
        let mut link = self.subject.connect();
        let link = link.as_mut();
        if self.row.opened {
            self.open(link)?;
        }
        for act in &plan.acts {
            match act {
                Act::Send(segment) => link.send(segment),
                Act::Wait(wait) => {
                    let whole = self.subject.deadline(wait.deadline).unwrap_or_default();
                    link.advance(whole.mul_f64(wait.times));
                }
                Act::FinishSending => link.finish_sending(),
                Act::Reset => link.reset(),
            }
            if plan.settle {
                link.settle();
            }
        }
        let expectation = self.await_one_of(link, self.row.expect.as_slice())?;
        match verdict::end(&expectation, self.row.opened) {
            End::Open => self.check_that_it_works(link, &expectation)?,
            End::Gone if !link.is_gone() => {
                return Err("the server still holds the connection".to_owned());
            }
            End::Gone | End::Closed => {}
        }
        match (expectation.application, link.application_close_code()) {
            (Some(expected), Some(seen)) if expected != seen => {
                Err(format!("the application saw close code {seen}, not {expected}"))
            }
            _ => Ok(()),
        }
    }

    /// Does the opening handshake and forgets its bytes.
    fn open(&mut self, link: &mut dyn Link) -> Result<(), String> {
        let upgraded = Expectation { status: Some(OneOrMany::One(101)), ..Expectation::default() };
        link.send(&compose::plain_request());
        let answered = self.await_judgement(link, &[upgraded], false);
        self.arrived.bytes.clear();
        answered.map(|_| ()).map_err(|wrong| format!("opening handshake: {wrong}"))
    }

    /// Sends a Ping and a Close: both must be answered, after everything that was expected, and
    /// nothing else may come.
    fn check_that_it_works(
        &mut self,
        link: &mut dyn Link,
        expectation: &Expectation,
    ) -> Result<(), String> {
        let probe = "are you there?";
        let mut probes = compose::masked_frame(9, probe.as_bytes());
        probes.extend(compose::masked_frame(8, &1000_u16.to_be_bytes()));
        link.send(&probes);
        let mut longer = expectation.clone();
        longer.frames.push(ExpectedFrame::Pong(Payload::Text(probe.to_owned())));
        longer.frames.push(ExpectedFrame::Close(OneOrMany::One(Number(1000))));
        longer.then = Some(End::Closed);
        self.await_one_of(link, &[longer]).map(|_| ())
    }

    fn await_one_of(
        &mut self,
        link: &mut dyn Link,
        expectations: &[Expectation],
    ) -> Result<Expectation, String> {
        self.await_judgement(link, expectations, self.row.opened)
    }

    /// Receives until one of the expectations is met, all are broken, or patience ends.
    fn await_judgement(
        &mut self,
        link: &mut dyn Link,
        expectations: &[Expectation],
        opened: bool,
    ) -> Result<Expectation, String> {
        loop {
            let mut missing = Vec::new();
            let mut wrong = Vec::new();
            for expectation in expectations {
                match verdict::judge(expectation, opened, &self.arrived) {
                    Judgement::Met => return Ok(expectation.clone()),
                    Judgement::NotYet(what) => missing.push(what),
                    Judgement::Broken(what) => wrong.push(what),
                }
            }
            if missing.is_empty() {
                return Err(wrong.join("; "));
            }
            match link.receive(self.subject.patience()) {
                Received::Bytes(bytes) => self.arrived.bytes.extend(bytes),
                Received::Ended => self.arrived.ended = true,
                Received::Nothing => return Err(missing.join("; ")),
            }
        }
    }

    fn failure(&self, plan: &Plan, wrong: String) -> Failure {
        let sent = plan.acts.iter().filter_map(|act| match act {
            Act::Send(bytes) => Some(bytes.as_slice()),
            _ => None,
        });
        let expected = self.row.expect.as_slice().iter();
        let expected: Vec<_> = expected
            .map(|expectation| verdict::described_expectation(expectation, self.row.opened))
            .collect();
        let ended = if self.arrived.ended { "closed" } else { "not closed" };
        Failure {
            id: self.row.id.clone(),
            name: format!("{} (RFC {})", self.row.name, self.row.rfc),
            split: plan.label.clone(),
            sent: shortened_hex(&sent.collect::<Vec<_>>().concat()),
            expected: expected.join(" | or "),
            got: format!("{}, {ended}", shortened_text(&self.arrived.bytes)),
            wrong,
        }
    }
}

fn shortened_hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes.iter().take(48) {
        let _ = write!(text, "{byte:02x}");
    }
    if bytes.len() > 48 {
        let _ = write!(text, ".. ({} bytes)", bytes.len());
    }
    text
}

fn shortened_text(bytes: &[u8]) -> String {
    match bytes.get(..160) {
        None => format!("\"{}\"", bytes.escape_ascii()),
        Some(start) => format!("\"{}\".. ({} bytes)", start.escape_ascii(), bytes.len()),
    }
}
