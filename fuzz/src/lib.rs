//! What is fuzzed: functions that take any bytes and panic when a rule does not hold.
//! They make no input: they run under libFuzzer (`scripts/fuzz`) and, from their corpora, in every
//! test run.

mod config;
mod cuts;
mod deflate;
mod extensions;
mod frames;
mod proxy;
mod request;
mod response;
mod url;
mod utf8;

/// A name, which is also its corpus folder's, and what takes the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("config", config::run),
    ("deflate", deflate::run),
    ("extensions", extensions::run),
    ("frames", frames::run),
    ("proxy", proxy::run),
    ("request", request::run),
    ("response", response::run),
    ("url", url::run),
    ("utf8", utf8::run),
];

/// Runs one by name; for the programs that are built for one target each.
pub fn run(name: &str, data: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    target.expect("a target of this name").1(data);
}
