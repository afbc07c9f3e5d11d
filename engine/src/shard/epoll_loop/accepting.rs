//! Accepting on epoll: one task for each listener. What becomes of a connection is decided elsewhere.

use std::future::poll_fn;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::rc::Rc;
use std::task::Poll;

use rustix::net::{SocketFlags, accept_with};

use super::{EpollSide, Shared, serve};
use crate::driver::epoll::{EpollStream, Readiness};
use crate::driver::{ACCEPT_BACKOFF, concerns_one_connection, peer_address};
use crate::handler::Handler;

/// Accepts from one listener until nothing more is accepted.
pub(super) async fn accept<H: Handler>(
    shared: Rc<Shared<H>>,
    number: usize,
    listener: TcpListener,
    readiness: Readiness,
) {
    while !shared.acceptors.borrow().is_empty() {
        // The standard library's accept fails when the peer has no internet address.
        match accept_with(&listener, SocketFlags::CLOEXEC).map_err(io::Error::from) {
            Ok(socket) => adopt(&shared, socket.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut readable = std::pin::pin!(readiness.readable());
                let waited = poll_fn(|context| {
                    let mut acceptors = shared.acceptors.borrow_mut();
                    let Some(waker) = acceptors.get_mut(number) else { return Poll::Ready(Ok(())) };
                    *waker = Some(context.waker().clone());
                    readable.as_mut().poll(context)
                });
                if waited.await.is_err() {
                    shared.step_aside().await;
                }
            }
            Err(error) if concerns_one_connection(&error) => shared.step_aside().await,
            Err(error) => {
                shared.core.borrow_mut().accept_failed(&error);
                monoio::time::sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
}

fn adopt<H: Handler>(shared: &Rc<Shared<H>>, socket: TcpStream) {
    let mut core = shared.core.borrow_mut();
    core.read_clock();
    let Some(counted) = core.admit(|| peer_address(socket.as_fd())) else { return };
    let Ok(stream) = EpollStream::new(socket) else { return core.release(counted) };
    let stream = Rc::new(stream);
    let token = core.accepted(None, EpollSide::new(Rc::clone(&stream), false), counted);
    drop(core);
    shared.spawn(serve(Rc::clone(shared), token, stream));
}
