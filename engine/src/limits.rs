//! Every bound of the engine in one struct. Nothing here enforces anything: the module that owns a
//! resource reads its limit from here, so that one page shows what a peer can cost.
#![forbid(unsafe_code)]

use std::time::Duration;

/// 1,024 bytes.
pub const KIB: usize = 1024;
/// 1,024 KiB.
pub const MIB: usize = 1024 * KIB;

/// The longest time the engine's clock can compare safely is 12 days.
const LIFETIME_MAX: Duration = Duration::from_secs(7 * 24 * 3600);
/// From these rates on nothing is counted: no connection is that fast.
const MESSAGES_UNCOUNTED: u32 = 1_000_000;
const BYTES_UNCOUNTED: usize = 64 << 30;

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
    /// Time from accept to the end of the request head, a TLS handshake included, not prolonged by
    /// progress. Default 10 s.
    pub handshake_timeout: Duration,
    /// Longest PROXY header of a trusted proxy in bytes, at least 232, which holds the longest
    /// addresses; beyond it the connection is closed. Default 1 KiB, above what proxies send with
    /// certificates' names.
    pub proxy_header_bytes_max: usize,
    /// Bytes that may arrive behind a request while its decision waits for something; beyond it 400.
    /// A client should wait for the answer, so few send any. Default 16 KiB.
    pub early_bytes_max: usize,
    /// Steps of TLS handshakes, some 100 µs each, that a shard makes in one turn, so that a storm of
    /// new connections does not keep those that are open waiting. Default 8.
    pub tls_handshakes_per_turn: u32,
    /// Longest message in bytes, all fragments together and, of a compressed one, what it
    /// restores to; beyond it close 1009. Default 1 MiB.
    pub message_bytes_max: usize,
    /// Longest message in bytes that is received in pieces
    /// ([`Conn::receive_chunks`](crate::Conn::receive_chunks)), of which no more than one is held at
    /// a time; beyond it close 1009. Default 1 GiB.
    pub chunked_message_bytes_max: usize,
    /// Memory in bytes that compression contexts of one shard may come to hold; connections
    /// accepted beyond it compress without context takeover. Default 64 MiB: some 2,000 connections
    /// that take over 32 KiB each.
    pub deflate_contexts_bytes_max: usize,
    /// Time from the first byte of a message to its last, not prolonged by progress; for a message
    /// that is received in pieces, from one piece to the next. Beyond it close 1008. Default 30 s.
    pub assembly_timeout: Duration,
    /// Messages a peer may send a second, and at once after a second of silence; beyond it close
    /// 1008. Default 10 million, more than a connection can carry: nothing is counted then, and
    /// only who sets it below a million pays for the counting.
    pub messages_per_second: u32,
    /// Bytes a peer may send a second after the handshake, frame headers included, and at once
    /// after a second of silence; beyond it close 1008. Default 1 TiB, which is not counted either;
    /// from 64 GiB on nothing is.
    pub bytes_per_second: usize,
    /// Control frames, and fragments without a byte, that a peer may send a second while it sends no
    /// whole message; beyond the burst and this rate close 1008. Default 20.
    pub control_frames_per_second: u32,
    /// Control frames a peer may send at once before the rate counts, at most 65,535. Default 200.
    pub control_frames_burst: u32,
    /// Bytes waiting for one peer from which on [`on_drain`](crate::Handler::on_drain) is called
    /// once fewer wait again; `send_queue_bytes_max` if that is less. Default 64 KiB: enough to keep
    /// a fast connection busy between two calls.
    pub send_queue_soft_bytes: usize,
    /// Bytes that may wait to be sent to one peer. A message is taken while less than this waits,
    /// so memory is bounded by this plus one message; beyond it the connection's
    /// [`SendPolicy`](crate::SendPolicy) decides, at first to close with 1008. To echo its longest
    /// message beside others it must exceed `message_bytes_max`, and by what one turn can deliver
    /// after `receive_pause_bytes` was passed, about 1 MiB. Default 4 MiB.
    pub send_queue_bytes_max: usize,
    /// Bytes waiting from which on nothing more is received from that peer until half of them are
    /// sent: a peer that does not read its answers is not asked for more. Default 256 KiB.
    pub receive_pause_bytes: usize,
    /// Time a peer may take without accepting a byte while bytes wait for it. However slowly it
    /// reads, it is not dropped while it does. Whether it does is looked at when the time is over,
    /// and what it took meanwhile begins the time anew: who stops then is dropped after up to twice
    /// as long. Default 30 s.
    pub write_stall_timeout: Duration,
    /// Silence after which a Ping is sent. Default 30 s.
    pub ping_interval: Duration,
    /// Pings without any sign of life after which the connection is dropped. Default 2.
    pub ping_misses_max: u32,
    /// Time a connection may be open; beyond it close 1001. Default 7 days, also the longest: a
    /// connection that nobody ever renews keeps certificates and rights of its first day.
    pub lifetime_max: Duration,
    /// Time from when our Close frame has left to the peer's, then the connection is dropped. While
    /// what was queued before it leaves, the time a peer may take without accepting a byte.
    /// Default 5 s.
    pub close_timeout: Duration,
    /// Time over which a drain spreads its Close frames, in random order, so that those who come
    /// back do not come at once. With a successor that accepts already, the first quarter of it is
    /// left to those who leave by themselves. Default 5 s.
    pub drain_window: Duration,
    /// Time after that window in which a drain still sends what is queued and waits for the answers
    /// to its Close frames; connections that are left are dropped then. Default 25 s, so that a
    /// drain takes half a minute at most.
    pub drain_timeout: Duration,
    /// Time in which bytes are still read and thrown away once a refusal or a page has left, so that
    /// the peer receives the answer before a reset can destroy it. Default 2 s.
    pub linger_timeout: Duration,
    /// Bytes read and thrown away in that time. Default 1 MiB, as much as the longest message has
    /// that could have been refused while it was on its way.
    pub linger_bytes_max: usize,
    /// Bytes that all connections together may make the server hold: queued to be sent, or of
    /// messages that are not whole. Divided evenly among the shards. From 90 % on new connections
    /// are refused, from 95 % on those that hold most are dropped until it is 90 % again, and with
    /// all of it used no message is queued but the first 4 KiB for each peer. What many subscribers
    /// of a shard share counts once there. The receive buffers (4 MiB a shard), vectors kept for
    /// reuse (32 MiB a shard), histories and what is kept aside are not in it. Default 1 GiB.
    pub memory_bytes_max: usize,
    /// Open connections of one shard; beyond it new ones are closed at once. Default 18,000,
    /// lowered at start to nine tenths of the file descriptors the process may open.
    pub connections_max: usize,
    /// Connections a shard accepts a second, and at once after a second without; beyond it they are
    /// closed at once. Default 100,000, more than a core has handshakes to give.
    pub accepts_per_second: u32,
    /// Open connections of one client address, on all shards together; beyond it new ones are closed
    /// at once, or answered 429 when it is a header that tells the address. An IPv6 address counts
    /// by its first 64 bits, which one customer has; behind trusted proxies the client's counts, as
    /// soon as it is known, and not theirs. Loopback and Unix sockets are not counted. Default
    /// 4,096: a company behind one address has room, and no address can fill a shard.
    pub connections_per_address_max: usize,
    /// New connections of one client address a second, and at once after a second without; what is
    /// an address and what happens beyond it as above. Default 1,000: a company that comes back
    /// after a restart gets in within seconds, and no address keeps a core busy with handshakes.
    pub accepts_per_address_per_second: u32,
    /// What [`Peer`](crate::Peer) and [`RemotePeer`](crate::RemotePeer) ask for that may wait for a
    /// shard: so many commands from its own tasks, and as many from other threads. Default 65,536.
    pub mailbox_commands_max: usize,
    /// Bytes of their messages from which on no further command is taken. Default 64 MiB.
    pub mailbox_bytes_max: usize,
    /// Topics one connection may subscribe to. Each takes at most 32 bytes, 10 more in a topic where
    /// anybody has a filter; raise it for connections that follow thousands. Default 1,024.
    pub subscriptions_max: usize,
    /// Longest topic name or pattern in bytes; what is published to a longer one reaches nobody.
    /// Default 255.
    pub topic_bytes_max: usize,
    /// Levels of a pattern. Default 16, which bounds how many ways there are to match a name.
    pub topic_levels_max: usize,
    /// Different patterns that the connections of the whole server are subscribed to. Default
    /// 4,096: each may be looked at for each message published.
    pub patterns_max: usize,
    /// Batches of published messages that may wait for a shard; beyond it its subscribers miss
    /// what is published elsewhere. Default 16,384.
    pub inlet_batches_max: usize,
    /// Bytes of such batches, those that still grow included, from which on no further message is
    /// taken; also of what a shard publishes to its own subscribers in one turn. Default 64 MiB.
    pub inlet_bytes_max: usize,
    /// Bytes of messages kept aside for one subscriber that reads too slowly, where their topics
    /// say so, 96 more counted for each message. Default 256 KiB.
    pub lag_bytes_max: usize,
    /// Bytes kept aside for all such subscribers of a shard. Default 64 MiB.
    pub lag_total_bytes_max: usize,
    /// Bytes of messages that a topic with a history keeps, 96 more counted for each message.
    /// Default 1 MiB.
    pub history_bytes_max: usize,
    /// Bytes that all such topics of the server keep; beyond it a topic that gets a message drops
    /// its own oldest ones. Default 256 MiB.
    pub history_total_bytes_max: usize,
    /// Topics of which is known what came last to and from other nodes, for each of their
    /// publishers; beyond it the ones that were not heard of for longest are forgotten, and what is
    /// missing or comes again just then is not noticed. Default 65,536.
    pub backend_topics_max: usize,
    /// Topics with a history. Beyond it the one is forgotten that has been without subscribers for
    /// longest; when all have some, nobody can subscribe to a further one. Default 4,096.
    pub histories_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes_max: 16 * KIB,
            header_lines_max: 100,
            target_bytes_max: 8 * KIB,
            handshake_timeout: Duration::from_secs(10),
            proxy_header_bytes_max: KIB,
            early_bytes_max: 16 * KIB,
            tls_handshakes_per_turn: 8,
            message_bytes_max: MIB,
            chunked_message_bytes_max: 1024 * MIB,
            deflate_contexts_bytes_max: 64 * MIB,
            assembly_timeout: Duration::from_secs(30),
            messages_per_second: 10_000_000,
            bytes_per_second: 1 << 40,
            control_frames_per_second: 20,
            control_frames_burst: 200,
            send_queue_soft_bytes: 64 * KIB,
            send_queue_bytes_max: 4 * MIB,
            receive_pause_bytes: 256 * KIB,
            write_stall_timeout: Duration::from_secs(30),
            ping_interval: Duration::from_secs(30),
            ping_misses_max: 2,
            lifetime_max: LIFETIME_MAX,
            close_timeout: Duration::from_secs(5),
            drain_window: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(25),
            linger_timeout: Duration::from_secs(2),
            linger_bytes_max: MIB,
            memory_bytes_max: 1024 * MIB,
            connections_max: 18_000,
            accepts_per_second: 100_000,
            connections_per_address_max: 4_096,
            accepts_per_address_per_second: 1_000,
            mailbox_commands_max: 65_536,
            mailbox_bytes_max: 64 * MIB,
            subscriptions_max: 1_024,
            topic_bytes_max: 255,
            topic_levels_max: 16,
            patterns_max: 4_096,
            inlet_batches_max: 16_384,
            inlet_bytes_max: 64 * MIB,
            lag_bytes_max: 256 * KIB,
            lag_total_bytes_max: 64 * MIB,
            history_bytes_max: MIB,
            history_total_bytes_max: 256 * MIB,
            backend_topics_max: 65_536,
            histories_max: 4_096,
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
            ("proxy_header_bytes_max", self.proxy_header_bytes_max, 232, 64 * KIB),
            ("early_bytes_max", self.early_bytes_max, 1, 1 << 30),
            ("tls_handshakes_per_turn", self.tls_handshakes_per_turn as usize, 1, 65_535),
            ("message_bytes_max", self.message_bytes_max, 1, 1 << 40),
            ("chunked_message_bytes_max", self.chunked_message_bytes_max, 1, 1 << 50),
            ("deflate_contexts_bytes_max", self.deflate_contexts_bytes_max, 1, 1 << 40),
            ("messages_per_second", self.messages_per_second as usize, 1, 10_000_000),
            ("bytes_per_second", self.bytes_per_second, 1, 1 << 40),
            ("send_queue_soft_bytes", self.send_queue_soft_bytes, 1, 1 << 40),
            ("memory_bytes_max", self.memory_bytes_max, MIB, 1 << 50),
            ("send_queue_bytes_max", self.send_queue_bytes_max, 1, 1 << 40),
            ("receive_pause_bytes", self.receive_pause_bytes, 1, 1 << 40),
            ("linger_bytes_max", self.linger_bytes_max, 1, 1 << 30),
            ("connections_max", self.connections_max, 1, 1 << 24),
            ("accepts_per_second", self.accepts_per_second as usize, 1, 10_000_000),
            ("connections_per_address_max", self.connections_per_address_max, 1, 1 << 24),
            (
                "accepts_per_address_per_second",
                self.accepts_per_address_per_second as usize,
                1,
                10_000_000,
            ),
            ("mailbox_commands_max", self.mailbox_commands_max, 1, 1 << 24),
            ("mailbox_bytes_max", self.mailbox_bytes_max, 1, 1 << 40),
            ("subscriptions_max", self.subscriptions_max, 1, 1 << 24),
            ("topic_bytes_max", self.topic_bytes_max, 1, 64 * KIB),
            ("topic_levels_max", self.topic_levels_max, 1, 64),
            ("patterns_max", self.patterns_max, 1, 1 << 24),
            ("inlet_batches_max", self.inlet_batches_max, 1, 1 << 24),
            ("inlet_bytes_max", self.inlet_bytes_max, 1, 1 << 40),
            ("lag_bytes_max", self.lag_bytes_max, 1, 1 << 40),
            ("lag_total_bytes_max", self.lag_total_bytes_max, 1, 1 << 40),
            ("history_bytes_max", self.history_bytes_max, 1, 1 << 40),
            ("history_total_bytes_max", self.history_total_bytes_max, 1, 1 << 40),
            ("backend_topics_max", self.backend_topics_max, 1, 1 << 24),
            ("histories_max", self.histories_max, 1, 1 << 24),
            ("control_frames_per_second", self.control_frames_per_second as usize, 1, 65_535),
            ("control_frames_burst", self.control_frames_burst as usize, 1, 65_535),
            ("ping_misses_max", self.ping_misses_max as usize, 1, 100),
        ];
        for (name, value, least, most) in sizes {
            if !(least..=most).contains(&value) {
                return Err(format!("{name} is {value}: it must be from {least} to {most}"));
            }
        }
        if self.lifetime_max.is_zero() || self.lifetime_max > LIFETIME_MAX {
            let value = self.lifetime_max;
            return Err(format!(
                "lifetime_max is {value:?}: it must be above zero and within 7 days"
            ));
        }
        let times = [
            ("handshake_timeout", self.handshake_timeout),
            ("assembly_timeout", self.assembly_timeout),
            ("write_stall_timeout", self.write_stall_timeout),
            ("ping_interval", self.ping_interval),
            ("close_timeout", self.close_timeout),
            ("drain_window", self.drain_window),
            ("drain_timeout", self.drain_timeout),
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

    /// Whether each of so many shards can hold the longest message while it is assembled, for which
    /// its vector may have to grow to twice that, and send it back.
    ///
    /// # Errors
    /// What to change.
    pub(crate) fn validate_share(&self, shards: usize) -> Result<(), String> {
        let needed = self.message_bytes_max.saturating_mul(3).saturating_mul(shards);
        if self.memory_bytes_max >= needed {
            return Ok(());
        }
        let (memory, message) = (self.memory_bytes_max, self.message_bytes_max);
        Err(format!(
            "memory_bytes_max is {memory}: divided among {shards} shards it cannot hold messages of \
             message_bytes_max, {message} bytes; make it at least {needed}"
        ))
    }

    /// Whether a peer could exceed the rates at all.
    pub(crate) fn has_rates(&self) -> bool {
        self.messages_per_second < MESSAGES_UNCOUNTED || self.bytes_per_second < BYTES_UNCOUNTED
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
