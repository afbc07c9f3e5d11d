//! What a server and its handlers can rely on, over real sockets and with both drivers. Which bytes
//! are legal is not tested here (that is the table in `tests/wire`), but what the engine does with
//! many connections, slow ones, broken ones, and with a system that refuses it something.
//!
//! Tests that count what the process holds (descriptors, threads, memory, processor time) run while
//! no other test of this file does; see `served::alone_for_each_driver`.

#[path = "../support/certificate.rs"]
mod certificate;
mod client;
mod process;
mod random;
mod recorder;
mod seccomp;
mod served;

mod addresses;
mod admin;
mod bounds;
mod client_role;
mod client_socket;
mod closing;
mod compression;
mod deadlines;
mod fairness;
mod faults;
mod flow;
mod histories;
mod latency;
mod later;
mod ledger;
mod limit_values;
mod negotiated;
mod nodes;
mod out_of_files;
mod peers;
mod proxies;
mod receiving_chunks;
mod refused;
mod routes;
mod server;
mod setup_errors;
mod slow_readers;
mod stopping;
mod subscribing;
mod succession;
mod tiny_buffers;
mod tls;
mod tls_memory;
mod tls_peers;
mod topics;
mod unix_sockets;
mod upgrade;
mod wakeups;
mod watching;
