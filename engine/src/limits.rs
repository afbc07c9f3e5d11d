//! Every bound of the engine in one struct. Nothing here enforces anything: the module that owns a
//! resource reads its limit from here, so that one page shows what a peer can cost.
#![forbid(unsafe_code)]

use std::time::Duration;

/// 1,024 bytes.
pub const KIB: usize = 1024;
/// 1,024 KiB.
pub const MIB: usize = 1024 * KIB;

/// The bounds a shard works within. Every default is finite.
///
/// ```
/// use ringsock::{KIB, Limits};
/// let limits = Limits { message_bytes_max: 256 * KIB, ..Limits::default() };
/// assert_eq!(limits.head_bytes_max, 16 * KIB);
/// assert!(limits.validate().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest HTTP head (request line and headers) in bytes; beyond it 431. Default 16 KiB.
    pub head_bytes_max: usize,
    /// Most header lines of a head, at most 100; beyond it 431. Default 100.
    pub header_lines_max: usize,
    /// Longest request target in bytes; beyond it 414. Default 8 KiB.
    pub target_bytes_max: usize,
    /// Time from accept to the end of the request head, not prolonged by progress. Default 10 s.
    pub handshake_timeout: Duration,
    /// Longest message in bytes, all fragments together; beyond it close 1009. Default 1 MiB.
    pub message_bytes_max: usize,
    /// Time from the first byte of a message to its last, not prolonged by progress; beyond it
    /// close 1008. Default 30 s.
    pub assembly_timeout: Duration,
    /// Control frames a peer may send a second while it sends no data; beyond the burst and this
    /// rate close 1008. Default 20.
    pub control_frames_per_second: u32,
    /// Control frames a peer may send at once before the rate counts, at most 65,535. Default 200.
    pub control_frames_burst: u32,
    /// Bytes that may wait to be sent to one peer. A message is taken while less than this waits,
    /// so memory is bounded by this plus one message; beyond it close 1008. To echo its longest
    /// message beside others it must exceed `message_bytes_max`, and by what one turn can deliver
    /// after `receive_pause_bytes` was passed, about 1 MiB. Default 4 MiB.
    pub send_queue_bytes_max: usize,
    /// Bytes waiting from which on nothing more is received from that peer until half of them are
    /// sent: a peer that does not read its answers is not asked for more. Default 256 KiB.
    pub receive_pause_bytes: usize,
    /// Time a peer may take without accepting a byte while bytes wait for it. Default 30 s.
    pub write_stall_timeout: Duration,
    /// Silence after which a Ping is sent. Default 30 s.
    pub ping_interval: Duration,
    /// Pings without any sign of life after which the connection is dropped. Default 2.
    pub ping_misses_max: u32,
    /// Time from our Close frame to the peer's, then the connection is dropped. Default 5 s.
    pub close_timeout: Duration,
    /// Time in which bytes are still read and thrown away after a refusal, so that the peer
    /// receives the answer before a reset can destroy it. Default 2 s.
    pub linger_timeout: Duration,
    /// Bytes read and thrown away in that time. Default 64 KiB.
    pub linger_bytes_max: usize,
    /// Open connections of one shard; beyond it new ones are closed at once. Default 18,000,
    /// lowered at start to nine tenths of the file descriptors the process may open.
    pub connections_max: usize,
    /// Commands that may wait in a shard's mailbox. Default 65,536.
    pub mailbox_commands_max: usize,
    /// Topics one connection may subscribe to. Default 1,024.
    pub subscriptions_max: usize,
    /// Longest topic name in bytes. Default 255.
    pub topic_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes_max: 16 * KIB,
            header_lines_max: 100,
            target_bytes_max: 8 * KIB,
            handshake_timeout: Duration::from_secs(10),
            message_bytes_max: MIB,
            assembly_timeout: Duration::from_secs(30),
            control_frames_per_second: 20,
            control_frames_burst: 200,
            send_queue_bytes_max: 4 * MIB,
            receive_pause_bytes: 256 * KIB,
            write_stall_timeout: Duration::from_secs(30),
            ping_interval: Duration::from_secs(30),
            ping_misses_max: 2,
            close_timeout: Duration::from_secs(5),
            linger_timeout: Duration::from_secs(2),
            linger_bytes_max: 64 * KIB,
            connections_max: 18_000,
            mailbox_commands_max: 65_536,
            subscriptions_max: 1_024,
            topic_bytes_max: 255,
        }
    }
}

impl Limits {
    /// Says which field has a value the engine cannot work with; zero is never "unlimited".
    ///
    /// # Errors
    /// The name of the field and the range it must be in.
    pub fn validate(&self) -> Result<(), String> {
        let sizes = [
            ("head_bytes_max", self.head_bytes_max, 64, MIB),
            ("header_lines_max", self.header_lines_max, 1, 100),
            ("target_bytes_max", self.target_bytes_max, 1, MIB),
            ("message_bytes_max", self.message_bytes_max, 1, 1 << 40),
            ("send_queue_bytes_max", self.send_queue_bytes_max, 1, 1 << 40),
            ("receive_pause_bytes", self.receive_pause_bytes, 1, 1 << 40),
            ("linger_bytes_max", self.linger_bytes_max, 1, 1 << 30),
            ("connections_max", self.connections_max, 1, 1 << 24),
            ("mailbox_commands_max", self.mailbox_commands_max, 1, 1 << 24),
            ("subscriptions_max", self.subscriptions_max, 1, 1 << 24),
            ("topic_bytes_max", self.topic_bytes_max, 1, 64 * KIB),
            ("control_frames_per_second", self.control_frames_per_second as usize, 1, 65_535),
            ("control_frames_burst", self.control_frames_burst as usize, 1, 65_535),
            ("ping_misses_max", self.ping_misses_max as usize, 1, 100),
        ];
        for (name, value, least, most) in sizes {
            if !(least..=most).contains(&value) {
                return Err(format!("{name} is {value}: it must be from {least} to {most}"));
            }
        }
        let times = [
            ("handshake_timeout", self.handshake_timeout),
            ("assembly_timeout", self.assembly_timeout),
            ("write_stall_timeout", self.write_stall_timeout),
            ("ping_interval", self.ping_interval),
            ("close_timeout", self.close_timeout),
            ("linger_timeout", self.linger_timeout),
        ];
        let day = Duration::from_secs(24 * 3600);
        for (name, value) in times {
            if value.is_zero() || value > day {
                return Err(format!("{name} is {value:?}: it must be above zero and within a day"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        assert_eq!(Limits::default().validate(), Ok(()));
    }

    #[test]
    fn zero_is_refused_by_name() {
        let limits = Limits { message_bytes_max: 0, ..Limits::default() };
        assert!(limits.validate().unwrap_err().contains("message_bytes_max"));
        let limits = Limits { close_timeout: Duration::ZERO, ..Limits::default() };
        assert!(limits.validate().unwrap_err().contains("close_timeout"));
    }
}
