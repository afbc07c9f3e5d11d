//! What one connection of a raw server was promised and what it was sent.
//!
//! No frame is parsed: after the upgrade, bytes are counted, and every so many of them owe so
//! many in return. Sockets are left to the servers; they hand in what they received and are told
//! what to send next.

use crate::canned::{CLOSE, HANDSHAKE};

/// The sizes of the exchange, the same for all connections of a server.
#[derive(Clone, Copy, Debug)]
pub struct Exchange {
    /// Bytes that make up one request, at least 1.
    pub request_bytes: u32,
    /// Bytes owed for each request, at least 1.
    pub response_bytes: u32,
    /// Whole responses in a row, at least two of them; see [`crate::canned::responses`].
    pub row: &'static [u8],
}

/// The account of one connection.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Bytes of responses owed and not yet sent.
    owed_bytes: u64,
    /// Bytes received of a request that is not yet complete.
    partial_bytes: u32,
    /// Bytes already sent of the response that is sent next.
    position_bytes: u32,
    stage: Stage,
    /// Bytes of the reply to the handshake, and of the Close frame, yet to be sent.
    handshake_bytes: u8,
    close_bytes: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The request head is being received; this many bytes of its final CRLFCRLF were seen.
    Head(u8),
    Open,
    /// The client's Close arrived; what else it sends is ignored.
    Closing,
}

impl Default for Stage {
    fn default() -> Self {
        Self::Head(0)
    }
}

const HEAD_END: &[u8; 4] = b"\r\n\r\n";

impl Ledger {
    /// Books the bytes received; returns how many requests are complete with them, for
    /// [`Self::owe`].
    #[inline]
    #[must_use]
    pub fn receive(&mut self, chunk: &[u8], exchange: &Exchange) -> u64 {
        match self.stage {
            Stage::Open => self.count(chunk, exchange),
            Stage::Head(_) => {
                let after = self.read_head(chunk);
                if after.is_empty() { 0 } else { self.count(after, exchange) }
            }
            Stage::Closing => 0,
        }
    }

    /// Promises a response to each of so many requests, whoever sent them.
    #[inline]
    pub fn owe(&mut self, requests: u64, exchange: &Exchange) {
        self.owed_bytes += requests * u64::from(exchange.response_bytes);
    }

    /// Whether the handshake was received and the client has not sent its Close.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.stage == Stage::Open
    }

    /// The bytes to send next, `None` if nothing is owed. They stay the first ones owed until
    /// [`Self::sent`] says otherwise; later calls may return more behind them.
    #[inline]
    pub fn next_send(&self, exchange: &Exchange) -> Option<&'static [u8]> {
        if self.handshake_bytes > 0 {
            return Some(&HANDSHAKE[HANDSHAKE.len() - usize::from(self.handshake_bytes)..]);
        }
        if self.owed_bytes > 0 {
            let row = &exchange.row[self.position_bytes as usize..];
            return Some(&row[..row.len().min(self.owed_bytes as usize)]);
        }
        if self.close_bytes > 0 {
            return Some(&CLOSE[CLOSE.len() - usize::from(self.close_bytes)..]);
        }
        None
    }

    /// Books that the first `count` bytes of [`Self::next_send`] were sent.
    #[inline]
    pub fn sent(&mut self, count: usize, exchange: &Exchange) {
        if self.handshake_bytes > 0 {
            self.handshake_bytes -= count as u8;
        } else if self.owed_bytes > 0 {
            self.owed_bytes -= count as u64;
            self.position_bytes = match self.owed_bytes {
                0 => 0,
                _ => (self.position_bytes + count as u32) % exchange.response_bytes,
            };
        } else {
            self.close_bytes -= count as u8;
        }
    }

    /// Whether the client's Close arrived and everything, our Close included, has been sent.
    #[inline]
    pub fn is_settled(&self) -> bool {
        self.stage == Stage::Closing && self.owed_bytes == 0 && self.close_bytes == 0
    }

    #[inline]
    fn count(&mut self, chunk: &[u8], exchange: &Exchange) -> u64 {
        // Only between requests: inside of one any masked byte may look like a Close.
        if self.partial_bytes == 0 && chunk.first() == Some(&0x88) {
            self.stage = Stage::Closing;
            self.close_bytes = CLOSE.len() as u8;
            return 0;
        }
        let received = self.partial_bytes + chunk.len() as u32;
        self.partial_bytes = received % exchange.request_bytes;
        u64::from(received / exchange.request_bytes)
    }

    /// Looks for the empty line; returns the bytes behind it.
    #[cold]
    fn read_head<'a>(&mut self, chunk: &'a [u8]) -> &'a [u8] {
        let Stage::Head(mut matched) = self.stage else { return chunk };
        for (at, &byte) in chunk.iter().enumerate() {
            matched = match byte {
                byte if byte == HEAD_END[usize::from(matched)] => matched + 1,
                b'\r' => 1,
                _ => 0,
            };
            if usize::from(matched) == HEAD_END.len() {
                self.stage = Stage::Open;
                self.handshake_bytes = HANDSHAKE.len() as u8;
                return &chunk[at + 1..];
            }
        }
        self.stage = Stage::Head(matched);
        &[]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canned::responses;

    const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n";

    fn exchange() -> Exchange {
        Exchange { request_bytes: 26, response_bytes: 22, row: responses(22).unwrap() }
    }

    /// Sends all that is owed, at most `step` bytes at a time.
    fn drain(ledger: &mut Ledger, step: usize) -> Vec<u8> {
        let exchange = exchange();
        let mut sent = Vec::new();
        while let Some(bytes) = ledger.next_send(&exchange) {
            let bytes = &bytes[..bytes.len().min(step)];
            sent.extend_from_slice(bytes);
            ledger.sent(bytes.len(), &exchange);
        }
        sent
    }

    /// What an echo server does with a chunk.
    fn answer(ledger: &mut Ledger, chunk: &[u8]) {
        let requests = ledger.receive(chunk, &exchange());
        ledger.owe(requests, &exchange());
    }

    fn open() -> Ledger {
        let mut ledger = Ledger::default();
        answer(&mut ledger, HEAD);
        assert_eq!(drain(&mut ledger, usize::MAX), HANDSHAKE);
        ledger
    }

    #[test]
    fn a_head_cut_anywhere_is_answered_once_and_the_request_behind_it_too() {
        let input = [HEAD, &[0x82; 26]].concat();
        for cut in 0..=input.len() {
            let mut ledger = Ledger::default();
            answer(&mut ledger, &input[..cut]);
            answer(&mut ledger, &input[cut..]);
            let sent = drain(&mut ledger, usize::MAX);
            assert_eq!(sent, [HANDSHAKE, &exchange().row[..22]].concat(), "cut at {cut}");
        }
    }

    #[test]
    fn whole_requests_owe_one_send_of_as_many_responses() {
        let mut ledger = open();
        answer(&mut ledger, &[0x82; 26 * 16 + 25]);
        assert_eq!(ledger.next_send(&exchange()), Some(&exchange().row[..22 * 16]));
        drain(&mut ledger, usize::MAX);
        answer(&mut ledger, &[0]);
        assert_eq!(drain(&mut ledger, usize::MAX), &exchange().row[..22]);
    }

    #[test]
    fn short_sends_give_the_same_bytes_as_long_ones() {
        for step in [1, 5, 22, 23, 100] {
            let mut ledger = open();
            answer(&mut ledger, &[0x82; 26 * 7]);
            assert_eq!(drain(&mut ledger, step), &exchange().row[..22 * 7], "step {step}");
        }
    }

    #[test]
    fn a_close_between_requests_is_answered_after_what_is_owed() {
        let mut ledger = open();
        answer(&mut ledger, &[0x82; 26]);
        answer(&mut ledger, &[0x88, 0x80, 1, 2, 3, 4]);
        assert!(!ledger.is_settled());
        assert_eq!(drain(&mut ledger, usize::MAX), [&exchange().row[..22], CLOSE].concat());
        assert!(ledger.is_settled());
    }

    #[test]
    fn a_byte_inside_a_request_is_no_close() {
        let mut ledger = open();
        answer(&mut ledger, &[0x82; 20]);
        answer(&mut ledger, &[0x88; 6]);
        assert_eq!(drain(&mut ledger, usize::MAX), &exchange().row[..22]);
        assert!(!ledger.is_settled());
    }

    #[test]
    fn whoever_owes_for_the_requests_of_others_sends_for_them_too() {
        let (mut publisher, mut subscriber) = (open(), open());
        let requests = publisher.receive(&[0x82; 26 * 3 + 1], &exchange());
        assert_eq!(requests, 3);
        subscriber.owe(requests, &exchange());
        assert_eq!(drain(&mut subscriber, usize::MAX), &exchange().row[..22 * 3]);
        assert_eq!(publisher.next_send(&exchange()), None);
    }

    #[test]
    fn a_connection_is_open_between_its_handshake_and_its_close() {
        let mut ledger = Ledger::default();
        assert!(!ledger.is_open());
        answer(&mut ledger, HEAD);
        assert!(ledger.is_open());
        answer(&mut ledger, &[0x88, 0x80, 1, 2, 3, 4]);
        assert!(!ledger.is_open());
    }
}
