//! What the runner needs of a server under test. Nothing here knows what a right answer is.

use std::time::Duration;

use crate::row::Deadline;

/// A server under test that echoes messages and has the default limits, deadlines apart.
pub(crate) trait Subject {
    /// Connects a new client.
    fn connect(&self) -> Box<dyn Link + '_>;

    /// How many ways of cutting an input are worth their time.
    fn effort(&self) -> Effort;

    /// How long a deadline of this server is; `None` when rows that wait cannot be run.
    fn deadline(&self, deadline: Deadline) -> Option<Duration>;

    /// How long an answer may take, or the end of the connection after it. Shorter than the
    /// handshake deadline, so that a hang is not mistaken for a refusal.
    fn patience(&self) -> Duration;
}

/// How many ways of cutting an input are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Each single place.
    All,
    /// A few places.
    Few,
}

/// A client's end of one connection.
pub(crate) trait Link {
    /// Sends one segment. Silent when the server has ended the connection: what it answered counts.
    fn send(&mut self, segment: &[u8]);

    /// Gives the server the time to see what was sent.
    fn settle(&mut self);

    /// Ends this side of the stream (FIN).
    fn finish_sending(&mut self);

    /// Tears the connection down (RST).
    fn reset(&mut self);

    /// Lets time pass.
    fn advance(&mut self, time: Duration);

    /// What the server has sent, waiting for it at most `patience`.
    fn receive(&mut self, patience: Duration) -> Received;

    /// Whether the server has let go of the connection altogether, not only ended its own side.
    fn is_gone(&mut self) -> bool;

    /// The close code that the application saw; `None` when it saw none yet or cannot be asked.
    fn application_close_code(&self) -> Option<u16>;
}

/// What [`Link::receive`] found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// These bytes, at least one.
    Bytes(Vec<u8>),
    /// The server has ended the connection, and everything it sent was handed out.
    Ended,
    /// Nothing for as long as the caller would wait.
    Nothing,
}
