//! Where the `ringsock` program begins: the allocator and nothing else that could be tested.
#![forbid(unsafe_code)]

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ringsock_server::run()
}
