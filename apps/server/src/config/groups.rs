//! The engine's groups of settings, each field by its name. A field that the engine has and the
//! list here has not is an error of the compiler, so that every one can be set.

use ringsock::server::Latency;
use ringsock::{Deflate, Limits};

use super::value::Value;

/// Fields that can be set and shown by their names.
pub(crate) trait Group {
    /// The section of the file.
    const SECTION: &str;
    /// The fields.
    const NAMES: &[&str];

    /// Sets one.
    fn set(&mut self, name: &str, text: &str) -> Result<(), String>;

    /// Shows one; nothing for a name that is none.
    fn show(&self, name: &str) -> String;
}

macro_rules! group {
    ($group:ident, $section:literal: $($name:ident),+ $(,)?) => {
        impl Group for $group {
            const SECTION: &str = $section;
            const NAMES: &[&str] = &[$(stringify!($name)),+];

            fn set(&mut self, name: &str, text: &str) -> Result<(), String> {
                $(if name == stringify!($name) {
                    self.$name = Value::read(name, text)?;
                })+
                Ok(())
            }

            fn show(&self, name: &str) -> String {
                // A missing field is missing here.
                let all = Self { $($name: self.$name),+ };
                $(if name == stringify!($name) {
                    return all.$name.show(name);
                })+
                String::new()
            }
        }
    };
}

group! { Limits, "limits":
    head_bytes_max,
    header_lines_max,
    target_bytes_max,
    proxy_header_bytes_max,
    early_bytes_max,
    handshake_timeout,
    tls_handshakes_per_turn,
    message_bytes_max,
    chunked_message_bytes_max,
    deflate_contexts_bytes_max,
    assembly_timeout,
    messages_per_second,
    bytes_per_second,
    control_frames_per_second,
    control_frames_burst,
    send_queue_soft_bytes,
    send_queue_bytes_max,
    receive_pause_bytes,
    write_stall_timeout,
    ping_interval,
    ping_misses_max,
    lifetime_max,
    close_timeout,
    drain_window,
    drain_timeout,
    linger_timeout,
    linger_bytes_max,
    memory_bytes_max,
    connections_max,
    accepts_per_second,
    connections_per_address_max,
    accepts_per_address_per_second,
    mailbox_commands_max,
    mailbox_bytes_max,
    subscriptions_max,
    topic_bytes_max,
    topic_levels_max,
    patterns_max,
    inlet_batches_max,
    inlet_bytes_max,
    lag_bytes_max,
    lag_total_bytes_max,
    history_bytes_max,
    history_total_bytes_max,
    backend_topics_max,
    histories_max,
}

group! { Latency, "latency":
    spin,
    busy_poll,
    submission_poll,
    defer_accept,
    fast_open_pending_max,
    tcp_notsent_lowat_bytes,
}

group! { Deflate, "deflate":
    threshold_bytes,
    send_context_takeover,
    receive_context_takeover,
    send_window_bits,
    receive_window_bits,
}

/// The limits that hold from the start of a server to its end.
pub(crate) const FIXED_LIMITS: &[&str] = &[
    "mailbox_commands_max",
    "mailbox_bytes_max",
    "topic_bytes_max",
    "patterns_max",
    "inlet_batches_max",
    "inlet_bytes_max",
    "history_bytes_max",
    "history_total_bytes_max",
    "backend_topics_max",
    "histories_max",
];

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use super::*;

    fn check<G: Group + Clone + Debug + PartialEq>(group: &G) {
        for name in G::NAMES {
            let shown = group.show(name);
            assert_ne!(shown, "", "{name}");
            let mut copy = group.clone();
            copy.set(name, &shown).unwrap();
            assert_eq!(&copy, group, "{name} = {shown}");
            assert!(copy.set(name, "nonsense").is_err(), "{name}");
        }
    }

    #[test]
    fn every_field_can_be_set_to_what_it_is_shown_as() {
        check(&Limits::default());
        check(&Latency::default());
        check(&Deflate::default());
        assert!(FIXED_LIMITS.iter().all(|fixed| Limits::NAMES.contains(fixed)));
    }
}
