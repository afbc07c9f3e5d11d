//! Settings that buy latency with processor time or with what a connection may do. None is on by
//! default, and none of them is needed for throughput.

use std::time::Duration;

/// What to pay for latency. Everything is off by default.
///
/// ```
/// use std::time::Duration;
/// use ringsock::server::Latency;
///
/// let latency = Latency { spin: Duration::from_micros(50), ..Latency::default() };
/// assert!(latency.validate().is_ok());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    /// How long a shard looks for work again and again before it sleeps. Waking a sleeping thread
    /// takes microseconds; a shard that spins uses its whole core while connections are quiet.
    /// Data ring only, and only while no task is alive on the shard. Measured: round trips of one
    /// connection take 21 µs instead of 38. Default 0, off.
    pub spin: Duration,
    /// How long the kernel polls the network card before it sleeps (NAPI busy polling), in whole
    /// microseconds; `SO_BUSY_POLL` on each socket, and registered with the data ring where the
    /// kernel is 6.9 or newer. It has no effect on loopback and needs `CAP_NET_ADMIN`. Default 0,
    /// off.
    pub busy_poll: Duration,
    /// Has a kernel thread take submissions from the data ring (SQPOLL), which sleeps after this
    /// long without any, in whole milliseconds. It needs a core of its own for each shard; without
    /// one it is slower. Measured: round trips of 35 µs instead of 61, for 60 % more processor time.
    /// Default 0, off.
    pub submission_poll: Duration,
    /// A connection is accepted when its first bytes are there (`TCP_DEFER_ACCEPT`), which saves a
    /// wake-up for each; one that stays silent this long, in whole seconds, is dropped by the
    /// kernel or accepted late. Default 0, off.
    pub defer_accept: Duration,
    /// Clients may send their request with the first packet (`TCP_FASTOPEN`, RFC 7413); at most
    /// this many may do so before their handshake is complete. The kernel must allow it too
    /// (`net.ipv4.tcp_fastopen` 2 or 3). Default 0, off.
    pub fast_open_pending_max: u32,
    /// Bytes of a connection that may lie in the kernel without being on their way
    /// (`TCP_NOTSENT_LOWAT`, about: it takes what is sent at once whole). Otherwise the kernel
    /// takes megabytes for a peer that reads slowly, and who gets the latest state only
    /// ([`SlowPolicy::Latest`](crate::topics::SlowPolicy)) gets those first. What one turn sends
    /// becomes segments of its own then. Default 0, off.
    pub tcp_notsent_lowat_bytes: u32,
}

impl Latency {
    /// Says which field has a value that cannot work.
    ///
    /// # Errors
    /// The name of the field and the range it must be in.
    pub fn validate(&self) -> Result<(), String> {
        let (micro, milli, second) =
            (Duration::from_micros(1), Duration::from_millis(1), Duration::from_secs(1));
        let times = [
            ("spin", self.spin, micro, second),
            ("busy_poll", self.busy_poll, micro, Duration::from_millis(100)),
            ("submission_poll", self.submission_poll, milli, 60 * second),
            ("defer_accept", self.defer_accept, second, 3600 * second),
        ];
        for (name, value, least, most) in times {
            if !value.is_zero() && !(least..=most).contains(&value) {
                return Err(format!(
                    "{name} is {value:?}: it must be 0 (off) or from {least:?} to {most:?}"
                ));
            }
        }
        let numbers = [
            ("fast_open_pending_max", self.fast_open_pending_max, 65_535),
            ("tcp_notsent_lowat_bytes", self.tcp_notsent_lowat_bytes, 1 << 30),
        ];
        for (name, value, most) in numbers {
            if value > most {
                return Err(format!("{name} is {value}: it must be at most {most}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_out_of_range_is_named() {
        let off = Latency::default();
        assert_eq!(off.validate(), Ok(()));
        for (name, latency) in [
            ("spin", Latency { spin: Duration::from_secs(2), ..off.clone() }),
            ("busy_poll", Latency { busy_poll: Duration::from_nanos(1), ..off.clone() }),
            ("submission_poll", Latency { submission_poll: Duration::MAX, ..off.clone() }),
            ("defer_accept", Latency { defer_accept: Duration::from_millis(5), ..off.clone() }),
            ("fast_open_pending_max", Latency { fast_open_pending_max: u32::MAX, ..off.clone() }),
            (
                "tcp_notsent_lowat_bytes",
                Latency { tcp_notsent_lowat_bytes: u32::MAX, ..off.clone() },
            ),
        ] {
            assert!(latency.validate().unwrap_err().starts_with(name), "{name}");
        }
    }
}
