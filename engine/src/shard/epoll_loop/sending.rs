//! Sending on epoll: at once as much as the kernel takes, the rest by a task of its own. What is sent
//! and when is decided elsewhere.

use std::io;
use std::rc::Rc;

use rustix::net::SendFlags;

use super::{EpollSide, Shared};
use crate::buffer::Batch;
use crate::driver::epoll::EpollStream;
use crate::handler::{Handler, Token};
use crate::shard::core::Core;

/// What came of sending.
pub(super) enum Sending {
    Done(Batch),
    Blocked(Batch, usize),
    Failed(Batch),
}

/// Sends as much of a batch, of which some was sent already, as the kernel takes.
pub(super) fn send(
    stream: &EpollStream,
    batch: Batch,
    mut sent: usize,
    record: SendFlags,
) -> Sending {
    let all = batch.len();
    while sent < all {
        match stream.send(&batch, sent, record) {
            Ok(bytes) => sent += bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Sending::Blocked(batch, sent);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Sending::Failed(batch),
        }
    }
    Sending::Done(batch)
}

/// Finds out whether the kernel takes more of a batch than it has said; its task goes on with it.
pub(super) fn check_send<H: Handler>(
    core: &mut Core<H, EpollSide>,
    token: Token,
    stream: &EpollStream,
    (batch, sent): (Batch, usize),
    record: SendFlags,
) {
    let (batch, now) = match send(stream, batch, sent, record) {
        Sending::Blocked(batch, now) => (batch, now),
        Sending::Done(batch) => {
            let all = batch.len();
            (batch, all)
        }
        Sending::Failed(batch) => (batch, sent),
    };
    if let Some(slot) = core.slots.get_mut(token) {
        slot.driver.blocked = Some((batch, now));
    }
    if now > sent {
        return core.transmitted(token, 0, true);
    }
    core.with(token, |connection, services, glue| {
        connection.handle_end(true, services, glue);
    });
}

/// Sends the rest of a batch that the kernel did not take at once.
pub(super) async fn write<H: Handler>(
    shared: Rc<Shared<H>>,
    token: Token,
    stream: Rc<EpollStream>,
) {
    loop {
        if stream.writable().await.is_err() {
            return shared.end(token, true);
        }
        let blocked = {
            let mut core = shared.core.borrow_mut();
            core.slots.get_mut(token).and_then(|slot| slot.driver.blocked.take())
        };
        let Some((batch, sent)) = blocked else { return };
        match send(&stream, batch, sent, shared.record) {
            Sending::Blocked(batch, now) => {
                // A turn of its own, for what the handler does when it is told.
                shared.turn(|core| {
                    if let Some(slot) = core.slots.get_mut(token) {
                        slot.driver.blocked = Some((batch, now));
                    }
                    if now > sent {
                        core.transmitted(token, 0, true);
                    }
                });
            }
            Sending::Done(batch) => {
                return shared.turn(|core| {
                    let bytes = batch.len();
                    batch.recycle(&mut core.services.pool);
                    core.transmitted(token, bytes, true);
                });
            }
            Sending::Failed(batch) => {
                shared.turn(|core| {
                    let bytes = batch.len();
                    batch.recycle(&mut core.services.pool);
                    core.transmitted(token, bytes, false);
                });
                return shared.end(token, true);
            }
        }
    }
}

/// Says after a round of the runtime that a batch has left.
pub(super) async fn finish<H: Handler>(shared: Rc<Shared<H>>, token: Token) {
    shared.step_aside().await;
    shared.turn(|core| {
        let sent = core.slots.get_mut(token).and_then(|slot| slot.driver.blocked.take());
        if let Some((batch, bytes)) = sent {
            batch.recycle(&mut core.services.pool);
            core.transmitted(token, bytes, true);
        }
    });
}
