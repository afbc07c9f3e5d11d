//! Memory of idle connections: thousands that echoed one message and then stay.
//!
//! They are opened one after another, because what counts is only that they are there; nothing is
//! timed.

use std::fs;
use std::time::Duration;

use crate::Result;
use crate::load::Load;
use crate::process::RunningServer;
use crate::wire::{BINARY, Call, Caller};

/// Time for the server to return what it needed only for the exchange.
const SETTLE_TIME: Duration = Duration::from_millis(500);

/// Bytes of anonymous memory per connection, of all that the load has, which echoed one message
/// each.
pub(crate) fn bytes_per_connection(
    server: &RunningServer,
    caller: &Caller,
    load: Load,
) -> Result<f64> {
    // A server may listen before it has set itself up; one that has served has done so.
    drop(echo_once(server, caller, load)?);
    std::thread::sleep(SETTLE_TIME);
    let before = anonymous_bytes(server.id())?;
    let calls = (0..load.connections)
        .map(|_| echo_once(server, caller, load))
        .collect::<Result<Vec<_>>>()?;
    std::thread::sleep(SETTLE_TIME);
    let after = anonymous_bytes(server.id())?;
    drop(calls);
    Ok((after as f64 - before as f64) / load.connections as f64)
}

fn echo_once(server: &RunningServer, caller: &Caller, load: Load) -> Result<Call> {
    let mut call = caller.call(server.address, load)?;
    let message = vec![0x2A; load.payload_bytes];
    match call.exchange(BINARY, &message)?.payload == message {
        true => Ok(call),
        false => Err("the reply is not an echo".into()),
    }
}

/// `RssAnon` of the process: what it allocated and touched, without what files back.
fn anonymous_bytes(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kibibytes: u64 =
        line.and_then(|line| line.trim().strip_suffix(" kB")).ok_or("no RssAnon")?.parse()?;
    Ok(kibibytes * 1024)
}
