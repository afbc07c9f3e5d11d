//! What a subscriber's share of a publish costs when its bytes are shared by all, and when they are
//! copied behind what the subscriber gets besides: from which size on is sharing worth it?
//!
//! The engine shares at any size. Only queues and what the kernel reads are here; a send is a copy
//! out of the queue into one place, as into the kernel's buffers.

use std::hint::black_box;

use bytes::Bytes;
use ringsock::buffer::{Pool, Segment, SendQueue};

use super::{Pass, Work};

/// Enough that their queues are not all in the nearest cache.
const SUBSCRIBERS: usize = 1000;
const SIZES: [usize; 10] = [16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192];
/// Topics that each subscriber has, with a message of that size in each turn: their messages are
/// as many runs of bytes when they are shared, and one when they are copied.
const TOPICS: [usize; 2] = [1, 4];

#[derive(Clone, Copy)]
enum Way {
    Share,
    Copy,
}

/// All sizes both ways; the costs of one subscriber and turn.
pub(super) fn all() -> impl Iterator<Item = Work> {
    TOPICS.into_iter().flat_map(|topics| {
        SIZES.into_iter().flat_map(move |bytes| {
            [("share", Way::Share), ("copy", Way::Copy)].map(|(name, way)| {
                let topics_name = if topics == 1 { "1 topic" } else { "4 topics" };
                let name = format!("fan-out of {topics_name}, {name}/{bytes} B");
                let prepare = move || fan_out(topics, bytes, way);
                Work::new(name, SUBSCRIBERS as u64, Some(bytes * topics), prepare)
            })
        })
    })
}

/// Queues a message of each topic for each subscriber, as the end of a turn does, then sends to
/// each all that it has.
fn fan_out(topics: usize, bytes: usize, way: Way) -> Pass {
    let mut pool = Pool::new();
    let mut queues: Vec<SendQueue> = (0..SUBSCRIBERS).map(|_| SendQueue::default()).collect();
    let messages: Vec<Bytes> = (0..topics).map(|_| Bytes::from(vec![0x2A; bytes])).collect();
    let mut sent = vec![0; bytes * topics];
    Box::new(move || {
        for message in &messages {
            for queue in &mut queues {
                match way {
                    Way::Share => queue.push(Segment::Shared(message.clone()), &mut pool),
                    Way::Copy => {
                        queue.append(&mut pool, bytes, |out| out.extend_from_slice(message));
                    }
                }
            }
        }
        for queue in &mut queues {
            send(queue, &mut pool, &mut sent);
        }
    })
}

fn send(queue: &mut SendQueue, pool: &mut Pool, sent: &mut [u8]) {
    while let Some(batch) = queue.take() {
        let mut end = 0;
        for segment in batch.segments() {
            let bytes = segment.bytes();
            sent[end..end + bytes.len()].copy_from_slice(bytes);
            end += bytes.len();
        }
        assert_eq!(end, sent.len());
        black_box(&mut *sent);
        queue.sent(end);
        batch.recycle(pool);
    }
}
