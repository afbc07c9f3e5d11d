//! Where open connections wait until all are there: nobody sends before the last has arrived, so
//! that handshakes are not measured with messages nor messages with handshakes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use ringsock::RemotePeer;

use crate::content::Content;

/// Connections that are open and have not sent.
#[derive(Debug, Default)]
pub(crate) struct StartingLine {
    waiting: Mutex<Vec<(RemotePeer, u32)>>,
    began_ns: AtomicU64,
}

impl StartingLine {
    /// A connection is open.
    pub(crate) fn arrive(&self, peer: RemotePeer, number: u32) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push((peer, number));
    }

    /// Sends the first message on each of them; how many those are. A connection that has gone
    /// meanwhile is reported by its end. What else is to be under way follows the first answer:
    /// from here, messages of one connection could overtake each other.
    pub(crate) fn begin(&self, content: &Content, now_ns: u64) -> u64 {
        let waiting =
            std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        // Release: whoever sees an answer sees the time it is measured from.
        self.began_ns.store(now_ns, Ordering::Release);
        let mut composer = content.composer();
        for (peer, number) in &waiting {
            let _ = peer.send(composer.letter(&content.pattern, *number, 0));
        }
        waiting.len() as u64
    }

    /// When the first messages were sent.
    pub(crate) fn began_ns(&self) -> u64 {
        self.began_ns.load(Ordering::Acquire)
    }
}
