//! Counts of what a shard did. Plain integers owned by the shard; nothing here is shared between
//! threads or printed. Each has a name and a line of help, for whoever exposes them.
#![forbid(unsafe_code)]

/// One value with its name and what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// The name, in words of lower case joined by `_`, without prefix or suffix.
    pub name: &'static str,
    /// What it means, in a sentence.
    pub help: &'static str,
    /// The value.
    pub value: u64,
}

/// Makes a struct of `u64` fields that can list itself.
macro_rules! metrics {
    ($(#[$about:meta])* $group:ident { $($(#[doc = $help:literal])+ $name:ident,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $group {
            $($(#[doc = $help])+ pub $name: u64,)+
        }

        impl $group {
            /// Every field with its name and help, in the order of their declaration.
            pub fn iter(&self) -> impl Iterator<Item = Metric> {
                [$(Metric {
                    name: stringify!($name),
                    help: concat!($($help),+).trim_ascii(),
                    value: self.$name,
                },)+].into_iter()
            }

            /// Adds another shard's to these.
            pub fn add(&mut self, other: &Self) {
                $(self.$name = self.$name.wrapping_add(other.$name);)+
            }
        }
    };
}

metrics! {
    /// What one shard has done since its start. Each only grows.
    Counters {
        /// Connections accepted.
        accepted,
        /// Connections closed at once because the shard had as many as it may.
        refused_full,
        /// Connections closed at once because 90 % of the memory budget was held.
        refused_memory,
        /// Connections closed at once because the shard had accepted as many within a second as it may.
        refused_accept_rate,
        /// Connections refused because their client's address had as many as it may.
        refused_address_connections,
        /// Connections refused because their client's address made them too fast.
        refused_address_rate,
        /// Handshakes answered with 101.
        opened,
        /// Handshakes answered otherwise, and outbound ones that failed.
        rejected,
        /// Connections from trusted proxies closed because they did not begin with a PROXY header.
        proxy_headers_refused,
        /// Connections that had been open and ended.
        closed,
        /// Messages received.
        messages_received,
        /// Messages queued to be sent.
        messages_sent,
        /// Handshakes that agreed on compression.
        opened_compressed,
        /// Messages sent in compressed form.
        messages_compressed,
        /// Bytes of those messages before.
        compressed_from_bytes,
        /// Bytes of those messages after.
        compressed_to_bytes,
        /// Bytes received, handshakes and frame headers included.
        bytes_received,
        /// Bytes sent, handshakes and frame headers included.
        bytes_sent,
        /// Connections failed for a frame against the protocol (1002).
        violations_protocol,
        /// Connections failed for text, or a close reason, that is not UTF-8 (1007).
        violations_utf8,
        /// Connections failed for compressed data that is corrupt (1007).
        violations_compression,
        /// Connections failed for a message over its limit (1009).
        violations_message_size,
        /// Connections failed for a message that took too long to arrive (1008).
        violations_assembly_time,
        /// Connections failed for more control frames than the rate allows (1008).
        violations_control_rate,
        /// Connections failed for more messages a second than they may send (1008).
        violations_message_rate,
        /// Connections failed for more bytes a second than they may send (1008).
        violations_byte_rate,
        /// Connections closed because too much waited for a peer that does not read (1008).
        slow_consumers,
        /// Deliveries of published messages given up because the shard's inlet was full.
        published_refused,
        /// Deliveries of published messages given up because the subscriber read too slowly.
        published_dropped,
        /// Messages kept aside for a slow subscriber that a later one has replaced.
        published_replaced,
        /// Deliveries of published messages given up because the subscriber was closing.
        published_closing,
        /// Deliveries of published messages that the subscriber's filter kept from it.
        published_filtered,
        /// Handshakes that took too long.
        timeouts_handshake,
        /// Connections dropped because nothing came back after several Pings.
        timeouts_ping,
        /// Connections dropped because the peer took no byte of what waited for it.
        timeouts_write,
        /// Connections dropped because our Close frame was not answered.
        timeouts_close,
        /// Connections dropped because a drain had waited long enough.
        timeouts_drain,
        /// Connections closed because they had been open as long as they may (1001).
        lifetimes_ended,
        /// Connections dropped because the memory budget was nearly used up and they held most.
        shed,
        /// Messages not sent because the queue of the connection was full.
        dropped_newest,
        /// Messages that waited and were dropped to make room for newer ones.
        dropped_oldest,
        /// Messages that waited and were replaced by a newer one with the same key.
        dropped_replaced,
        /// Messages not sent because the memory budget was used up.
        dropped_memory,
        /// Messages that waited and were dropped because their connection was being closed.
        dropped_closing,
        /// Pings answered only by the answer to a later one, because too much waited.
        pongs_coalesced,
        /// Pauses of receiving because the peer did not read.
        receive_pauses_backlog,
        /// Pauses of receiving that the application asked for.
        receive_pauses_asked,
        /// Panics of a handler, each of which ended its connection.
        handler_panics,
        /// Receives that found no provided buffer and were armed again.
        receive_buffers_exhausted,
        /// Accepts put off because descriptors or memory ran out, or the listener does not accept.
        accept_backoffs,
        /// Completions of io_uring that belong to nothing under way.
        stale_completions,
        /// TLS handshakes completed.
        tls_established,
        /// TLS handshakes completed by resuming an earlier session.
        tls_resumed,
        /// Connections that spoke plain HTTP where TLS is spoken.
        tls_plain_http,
        /// TLS handshakes that failed because no version, cipher or protocol was in common.
        tls_nothing_in_common,
        /// TLS handshakes that failed because of a certificate.
        tls_certificate_refused,
        /// TLS connections that the peer ended with an alert.
        tls_peer_alerts,
        /// TLS connections that ended because a record was forged or damaged.
        tls_bad_records,
        /// TLS connections that ended because what came breaks the protocol.
        tls_malformed,
        /// Steps of TLS handshakes put off to a later turn.
        tls_handshakes_put_off,
        /// Turns of the shard's loop.
        turns,
    }
}

/// How often values of which size were counted: the shape of a Prometheus histogram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; Self::BOUNDS.len() + 1],
    sum: u64,
}

impl Histogram {
    /// The largest value of each bucket but the last, which takes whatever is larger: nothing, and
    /// 1 KiB to 4 MiB in steps of four.
    pub const BOUNDS: [u64; 8] = [0, 1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22];

    /// Counts a value so many times.
    #[inline]
    pub fn count(&mut self, value: u64, times: u64) {
        let bucket = match value {
            0 => 0,
            // The logarithm, rounded up, in steps of two from the first bound on.
            1.. => {
                let bits = u64::BITS - (value - 1).leading_zeros();
                1 + (bits.saturating_sub(10) as usize).div_ceil(2).min(Self::BOUNDS.len() - 1)
            }
        };
        self.counts[bucket] += times;
        self.sum = self.sum.wrapping_add(value.wrapping_mul(times));
    }

    /// The bound of each bucket but the last, with how many values were at most that.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut so_far = 0;
        Self::BOUNDS.into_iter().zip(self.counts).map(move |(bound, count)| {
            so_far += count;
            (bound, so_far)
        })
    }

    /// How many values were counted.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all values.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// Adds another shard's to this one.
    pub fn add(&mut self, other: &Self) {
        for (own, other) in self.counts.iter_mut().zip(other.counts) {
            *own += other;
        }
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_the_first_bucket_whose_bound_it_does_not_exceed() {
        for bound in Histogram::BOUNDS {
            for value in [bound.saturating_sub(1), bound, bound + 1] {
                let mut histogram = Histogram::default();
                histogram.count(value, 3);
                for (bound, count) in histogram.cumulative() {
                    assert_eq!(count, if value <= bound { 3 } else { 0 }, "{value} and {bound}");
                }
                assert_eq!((histogram.total(), histogram.sum()), (3, 3 * value));
            }
        }
        let mut all = Histogram::default();
        all.count(u64::MAX, 1);
        let same = all;
        all.add(&same);
        assert_eq!((all.total(), all.cumulative().last()), (2, Some((1 << 22, 0))));
    }

    #[test]
    fn every_counter_is_listed_once_with_its_help() {
        let counters = Counters { accepted: 7, turns: 9, ..Counters::default() };
        let listed: Vec<_> = counters.iter().collect();
        assert_eq!(listed.len(), size_of::<Counters>() / size_of::<u64>());
        assert_eq!(listed[0].name, "accepted");
        assert_eq!(listed[0].help, "Connections accepted.");
        assert_eq!((listed[0].value, listed.last().unwrap().value), (7, 9));
        for metric in listed {
            assert!(metric.help.ends_with('.') && !metric.help.contains('\n'), "{metric:?}");
        }
    }

    #[test]
    fn the_counters_of_shards_add_up() {
        let mut sum = Counters { accepted: 1, ..Counters::default() };
        sum.add(&Counters { accepted: 2, closed: 3, ..Counters::default() });
        assert_eq!((sum.accepted, sum.closed), (3, 3));
    }
}
