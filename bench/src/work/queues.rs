//! What happens between the handler and the socket: send queues, topics, and a whole turn of a
//! server without a kernel.

use std::hint::black_box;

use bytes::Bytes;
use ringsock::buffer::{Pool, Segment, SendQueue};
use ringsock::protocol::{Encoder, Opcode, Role};
use ringsock::testing::{MemoryConnection, MemoryServer};
use ringsock::{Conn, Handler, Limits, Message};

use super::{Pass, Work};

const OPERATIONS: u64 = 16;
const SUBSCRIBERS: u64 = 100;

pub(super) fn all() -> impl Iterator<Item = Work> {
    [
        Work::new("send queue, small frames", OPERATIONS, None, small_frames),
        Work::new("send queue, shared bytes", OPERATIONS, None, shared_bytes),
        Work::new("turn, echo/20 B", 1, None, || turn(Echo, 1)),
        Work::new("turn, publish to 100/100 B", SUBSCRIBERS, None, || turn(FanOut, SUBSCRIBERS)),
    ]
    .into_iter()
}

/// Queues small frames and takes them as the one run of bytes that a send gets.
fn small_frames() -> Pass {
    let (mut pool, mut queue) = (Pool::new(), SendQueue::default());
    let frame = [0; 22];
    Box::new(move || {
        for _ in 0..OPERATIONS {
            queue.append(&mut pool, frame.len(), |out| out.extend_from_slice(black_box(&frame)));
        }
        send_all(&mut queue, &mut pool);
    })
}

/// Queues bytes that others share.
fn shared_bytes() -> Pass {
    let (mut pool, mut queue) = (Pool::new(), SendQueue::default());
    let shared = Bytes::from(vec![0; 512]);
    Box::new(move || {
        for _ in 0..OPERATIONS {
            queue.push(Segment::Shared(black_box(&shared).clone()), &mut pool);
        }
        send_all(&mut queue, &mut pool);
    })
}

fn send_all(queue: &mut SendQueue, pool: &mut Pool) {
    while let Some(batch) = black_box(queue.take()) {
        queue.sent(batch.len());
        batch.recycle(pool);
    }
    assert_eq!(queue.queued_bytes(), 0);
}

struct Echo;

impl Handler for Echo {
    type State = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        let _ = conn.send(message);
    }
}

struct FanOut;

impl Handler for FanOut {
    type State = ();

    fn on_open(&mut self, conn: &mut Conn<'_, ()>) {
        conn.subscribe("all");
    }

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        let _ = conn.publish("all", message);
    }
}

/// One message through a server in memory; each of `receivers` gets a frame. Its driver copies
/// what the kernel would.
fn turn<H: Handler + 'static>(handler: H, receivers: u64) -> Pass {
    // A machine without a descriptor to spare measures nothing.
    let mut server = MemoryServer::new(Limits::default(), handler).expect("a file descriptor");
    let peers: Vec<MemoryConnection> = (0..receivers).map(|_| server.connect_open()).collect();
    let payload = vec![b'a'; if receivers == 1 { 20 } else { 100 }];
    let mut frame = Vec::new();
    Encoder::new(Role::Client).frame(&mut frame, Opcode::Binary, true, &payload, &mut || [7; 4]);
    Box::new(move || {
        server.receive(peers[0], black_box(&frame));
        for &peer in &peers {
            assert_eq!(server.take_sent(peer).len(), payload.len() + 2);
        }
    })
}
