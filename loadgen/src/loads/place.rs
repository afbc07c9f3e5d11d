//! A shard's place in the run: where it reports what happens on its connections. It decides nothing
//! about the run.

use std::sync::Arc;

use ringsock::connection::ClosedBy;
use ringsock::protocol::handshake::Negotiated;
use ringsock::server::ShardInfo;
use ringsock::{CloseInfo, Conn, Message};

use crate::content::Content;
use crate::failure::{Failure, Phase};
use crate::pattern::Verdict;
use crate::scoreboard::{Scoreboard, Tally};
use crate::target::Target;

/// What a shard's handler is made from.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) shard: ShardInfo,
    pub(crate) board: Arc<Scoreboard>,
    pub(crate) tally: Arc<Tally>,
}

impl Place {
    /// A server has answered the handshake of a connection, which is open next.
    pub(crate) fn note_negotiated(&self, target: &Target, negotiated: &Negotiated) {
        if target.offers_subprotocols() {
            self.tally.note_subprotocol(negotiated.subprotocol.as_deref());
        }
    }

    /// A connection is open, with what was agreed on it.
    pub(crate) fn welcome<S>(&self, target: &Target, conn: &Conn<'_, S>) {
        match conn.compression() {
            Some(_) => self.tally.compressed.add(1),
            None if target.offers_deflate() => self.tally.uncompressed.add(1),
            None => {}
        }
        self.tally.opened.add(1);
    }

    /// Judges an echo of a message, told by its connection's and its own number, and counts the
    /// verdict.
    pub(crate) fn judge(
        &self,
        content: &Content,
        (number, sequence): (u32, u64),
        message: &Message<'_>,
    ) {
        match content.judge(number, sequence, message) {
            Verdict::Counted => {}
            Verdict::Compared => self.tally.compared.add(1),
            Verdict::Wrong => self.find_garbled(content, (number, sequence), message),
        }
    }

    /// Counts an echo that is not what was sent.
    pub(crate) fn find_garbled(
        &self,
        content: &Content,
        (number, sequence): (u32, u64),
        message: &Message<'_>,
    ) {
        let (due, came) = (content.pattern.bytes_of(sequence), message.bytes().len());
        self.fault(|| {
            format!(
                "connection {number}: message {sequence} of {due} bytes came back as {came} other \
                 bytes"
            )
        });
    }

    /// Counts a message that came to a connection that waited for none.
    pub(crate) fn find_unasked(&self, number: u32) {
        self.fault(|| format!("connection {number}: a message came that answers nothing"));
    }

    /// Counts a message that was not what was due.
    pub(crate) fn fault(&self, describe: impl FnOnce() -> String) {
        self.tally.wrong.add(1);
        self.board.note_fault(describe);
    }

    /// A connection has ended; it counts as lost unless the run is ending its connections.
    pub(crate) fn lose(&self, number: u32, info: CloseInfo<'_>) {
        if self.board.is_closing() {
            return;
        }
        self.tally.lost.add(1);
        self.board.note_fault(|| {
            let space = if info.reason.is_empty() { "" } else { " " };
            let (code, reason) = (info.code.0, info.reason);
            let by = match info.by {
                ClosedBy::Peer => "the server",
                ClosedBy::Transport => "its transport",
                ClosedBy::Local => "ringload itself",
            };
            format!("connection {number} ended with {code}{space}{reason}, by {by}")
        });
    }

    /// A message that was due is not sent any more.
    pub(crate) fn leave_unsent(&self, due_ns: u64) {
        self.tally.unsent.add(1);
        self.leave_unanswered([(due_ns, 1)].into_iter());
    }

    /// What a connection owes when it ends will not come any more.
    pub(crate) fn leave_unanswered(&self, due: impl Iterator<Item = (u64, u64)>) {
        let now_ns = self.board.nanoseconds();
        let mut readings = self.tally.readings();
        for (due_ns, count) in due.filter(|(due_ns, _)| self.board.is_counted(*due_ns)) {
            readings.leave_unanswered(due_ns, count, now_ns);
        }
    }

    /// A connection could not be opened; the run goes on with the others.
    pub(crate) fn miss(&self, target: &Target, number: u32, reason: &str) {
        if self.board.is_closing() {
            return;
        }
        self.tally.unopened.add(1);
        let failure = Failure::of_server(target, Phase::of_reason(reason), reason);
        self.board.note_fault(|| format!("connection {number} was not opened: {failure}"));
        self.board.note_refusal(failure);
    }
}
