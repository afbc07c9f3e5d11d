//! Connects to the first of several addresses that answers, in the way of RFC 8305 section 5: one that
//! does not answer keeps the others waiting for a moment and not until it is given up. Names are
//! resolved elsewhere, and no answer is remembered.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use super::stream::Stream;

/// Time until the next address is tried beside those that have not answered.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Addresses that are tried.
const ADDRESSES_MAX: usize = 16;

type Outcome = (SocketAddr, io::Result<Stream>);
type Attempt = Pin<Box<dyn Future<Output = Outcome>>>;

/// A connection to one of these addresses, and to which.
///
/// # Errors
/// The address that failed last, and its error.
pub(super) async fn connect_first(
    addresses: &[SocketAddr],
    source: Option<IpAddr>,
) -> Result<(Stream, SocketAddr), (Option<SocketAddr>, io::Error)> {
    let mut untried = in_turns(addresses).into_iter().take(ADDRESSES_MAX).peekable();
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut failed = (None, io::Error::from(io::ErrorKind::NotFound));
    loop {
        match untried.next() {
            Some(address) => attempts
                .push(Box::pin(async move { (address, Stream::connect(address, source).await) })),
            None if attempts.is_empty() => return Err(failed),
            None => {}
        }
        match next_outcome(&mut attempts, untried.peek().is_some()).await {
            Some((address, Ok(stream))) => return Ok((stream, address)),
            Some((address, Err(error))) => failed = (Some(address), error),
            None => {}
        }
    }
}

/// The outcome of whichever attempt ends first; none when another address is to be tried before.
async fn next_outcome(attempts: &mut Vec<Attempt>, has_more: bool) -> Option<Outcome> {
    let mut delay = pin!(monoio::time::sleep(ATTEMPT_DELAY));
    poll_fn(|context| {
        for place in 0..attempts.len() {
            if let Poll::Ready(outcome) = attempts[place].as_mut().poll(context) {
                drop(attempts.swap_remove(place));
                return Poll::Ready(Some(outcome));
            }
        }
        match has_more {
            true => delay.as_mut().poll(context).map(|()| None),
            false => Poll::Pending,
        }
    })
    .await
}

/// The two families in turns, each in its order (section 4): a machine whose one family leads nowhere
/// comes to the other soon.
fn in_turns(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (own, other): (Vec<SocketAddr>, Vec<SocketAddr>) =
        addresses.iter().partition(|address| address.is_ipv6() == first);
    let pairs = own.len().min(other.len());
    let turns = own.iter().zip(&other).flat_map(|(one, other)| [*one, *other]);
    turns.chain(own[pairs..].iter().chain(&other[pairs..]).copied()).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Instant;

    use socket2::{Domain, Socket, Type};

    use super::*;
    use crate::client::block_on;

    /// An address that does not answer: a listener whose queue is full, and what fills it.
    fn silent() -> (SocketAddr, Socket, Vec<Socket>) {
        let stream = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        let listener = stream();
        listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut queued = Vec::new();
        loop {
            let socket = stream();
            let connected = socket.connect_timeout(&address, Duration::from_millis(100));
            queued.push(socket);
            if connected.is_err() {
                return (address.as_socket().unwrap(), listener, queued);
            }
            assert!(queued.len() < 100, "the queue has no end");
        }
    }

    #[test]
    fn an_address_that_does_not_answer_holds_up_nobody_for_long() {
        let (dead, _listener, _queued) = silent();
        let alive = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = alive.local_addr().unwrap();
        let began = Instant::now();
        let (_, connected) = block_on(connect_first(&[dead, dead, address], None)).unwrap();
        assert_eq!(connected, address);
        assert!(began.elapsed() >= 2 * ATTEMPT_DELAY);
        // A kernel gives up after minutes.
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }

    #[test]
    fn an_address_that_refuses_is_followed_by_the_next_at_once() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let alive = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = alive.local_addr().unwrap();
        let (_, connected) = block_on(connect_first(&[closed, closed, address], None)).unwrap();
        assert_eq!(connected, address);
        let (failed, error) = block_on(connect_first(&[closed, closed], None)).unwrap_err();
        assert_eq!((failed, error.kind()), (Some(closed), io::ErrorKind::ConnectionRefused));
        assert!(block_on(connect_first(&[], None)).is_err());
    }

    #[test]
    fn families_take_turns_and_each_keeps_its_order() {
        for (given, expected) in [
            (&["::1", "::2", "1.1.1.1", "2.2.2.2"][..], &["::1", "1.1.1.1", "::2", "2.2.2.2"][..]),
            (&["1.1.1.1", "::1", "::2"], &["1.1.1.1", "::1", "::2"]),
            (&["::1", "::2", "::3", "1.1.1.1"], &["::1", "1.1.1.1", "::2", "::3"]),
            (&["1.1.1.1"], &["1.1.1.1"]),
            (&[], &[]),
        ] {
            let read = |texts: &[&str]| -> Vec<SocketAddr> {
                texts.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 80)).collect()
            };
            assert_eq!(in_turns(&read(given)), read(expected));
        }
    }
}
