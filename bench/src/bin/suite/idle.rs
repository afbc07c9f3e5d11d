//! Memory of idle connections: thousands that echoed one message and then stay.
//!
//! They are made here, one after another and blocking, because what counts is only that they are
//! there; nothing is timed.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use ringsock_bench::frame_sizes::frame_bytes;

use crate::Result;
use crate::process::RunningServer;

/// Time for the server to return what it needed only for the exchange.
const SETTLE_TIME: Duration = Duration::from_millis(500);
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// Bytes of anonymous memory per connection, of `connections` that echoed one message each.
pub(crate) fn bytes_per_connection(
    server: &RunningServer,
    connections: usize,
    payload_bytes: usize,
) -> Result<f64> {
    // A server may listen before it has set itself up; one that has served has done so.
    drop(echo_once(server.address, payload_bytes)?);
    std::thread::sleep(SETTLE_TIME);
    let before = anonymous_bytes(server.id())?;
    let sockets = (0..connections)
        .map(|_| echo_once(server.address, payload_bytes))
        .collect::<Result<Vec<_>>>()?;
    std::thread::sleep(SETTLE_TIME);
    let after = anonymous_bytes(server.id())?;
    drop(sockets);
    Ok((after as f64 - before as f64) / connections as f64)
}

fn echo_once(address: SocketAddr, payload_bytes: usize) -> Result<TcpStream> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(REPLY_TIMEOUT))?;
    socket.write_all(
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
          Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        socket.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    if !head.starts_with(b"HTTP/1.1 101 ") {
        return Err(format!("no upgrade: {}", String::from_utf8_lossy(&head)).into());
    }
    let payload = u8::try_from(payload_bytes).ok().filter(|&bytes| bytes <= 125);
    let payload = payload.ok_or("idle connections exchange a short message")?;
    // Masked with a key of zeros: the payload is as it is.
    let mut frame = vec![0x82, 0x80 | payload, 0, 0, 0, 0];
    frame.resize(frame_bytes(payload_bytes, true), 0x2A);
    socket.write_all(&frame)?;
    let mut reply = vec![0; frame_bytes(payload_bytes, false)];
    socket.read_exact(&mut reply)?;
    if reply[..2] != [0x82, payload] || reply[2..] != frame[6..] {
        return Err("the reply is not an echo".into());
    }
    Ok(socket)
}

/// `RssAnon` of the process: what it allocated and touched, without what files back.
fn anonymous_bytes(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kibibytes: u64 =
        line.and_then(|line| line.trim().strip_suffix(" kB")).ok_or("no RssAnon")?.parse()?;
    Ok(kibibytes * 1024)
}
