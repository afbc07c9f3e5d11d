//! Memory that messages pass through: leases into receive buffers, pooled vectors, send queues.
//! Nothing here knows a frame or a socket.
#![forbid(unsafe_code)]

mod payload;
mod pool;
mod send_queue;

pub use payload::{HEADROOM_BYTES, InPlace, Payload};
pub use pool::Pool;
pub use send_queue::{Batch, Segment, SendQueue};
