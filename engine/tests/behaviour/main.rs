//! What a server and its handlers can rely on, over real sockets and with both drivers. Which bytes
//! are legal is not tested here (that is the table in `tests/wire`), but what the engine does with
//! many connections, slow ones, broken ones, and with a system that refuses it something.
//!
//! Tests that count what the process holds (descriptors, threads, memory, processor time) run while
//! no other test of this file does; see `served::alone_for_each_driver`.

mod client;
mod process;
mod random;
mod recorder;
mod seccomp;
mod served;

mod client_role;
mod closing;
mod fairness;
mod faults;
mod flow;
mod out_of_files;
mod peers;
mod refused;
mod server;
mod setup_errors;
mod stopping;
mod tiny_buffers;
mod upgrade;
mod wakeups;
