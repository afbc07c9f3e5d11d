//! What the raw servers and their measurements share.
//!
//! Nothing here speaks WebSocket: a raw server counts the bytes it receives and answers with as
//! many bytes as a WebSocket server would. What such a server costs is therefore what the kernel
//! costs, and the ratio between an engine and it is the engine's own work. The two servers are
//! the binaries `raw-ring` (io_uring) and `raw-epoll`; the binary `suite` compares. The exception
//! is [`work`], the engine's own work without a kernel.

#![forbid(unsafe_code)]

pub mod canned;
pub mod documents;
pub mod frame_sizes;
pub mod ledger;
pub mod listener;
pub mod options;
pub mod work;
