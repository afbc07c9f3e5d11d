//! Memory that messages pass through: leases into receive buffers, pooled vectors, send queues.
//! Nothing here knows a frame or a socket.
#![forbid(unsafe_code)]

mod budget;
mod marks;
mod payload;
mod pool;
mod segment;
mod segments;
mod send_queue;

pub use budget::Budget;
pub use marks::Mark;
pub use payload::{HEADROOM_BYTES, InPlace, Payload};
pub use pool::Pool;
pub use segment::{Batch, Segment};
pub use send_queue::SendQueue;
