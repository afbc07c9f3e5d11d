//! Whether this kernel, and what it is wrapped in, lets a data ring work: not a list of flags but a
//! real accept, receive and send on loopback.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use super::{Completion, DataRing, KernelQueues, Received, RingConfig};
use crate::buffer::{Batch, Pool, Segment};
use crate::handler::Token;

/// What the probe saw.
#[derive(Debug)]
pub(crate) struct ProbeReport {
    /// `Ok` when a data ring carried bytes both ways; otherwise the step that failed and why.
    pub outcome: Result<(), (&'static str, io::Error)>,
}

impl ProbeReport {
    /// Whether the failure means that io_uring is forbidden or lacks something here, as opposed to
    /// a shortage that would strike any driver.
    #[must_use]
    pub(crate) fn is_unavailable(&self) -> bool {
        match &self.outcome {
            Ok(()) => false,
            Err((_, error)) => matches!(
                error.raw_os_error(),
                Some(libc::EPERM | libc::EACCES | libc::ENOSYS | libc::EINVAL | libc::EOPNOTSUPP)
            ),
        }
    }
}

/// Sets up a small ring and carries four bytes through it.
#[must_use]
pub(crate) fn probe() -> ProbeReport {
    ProbeReport { outcome: exchange() }
}

fn exchange() -> Result<(), (&'static str, io::Error)> {
    let config = RingConfig {
        submission_entries: 8,
        completion_entries: 32,
        receive_buffers: 4,
        receive_buffer_bytes: 64,
        registered_files: 1,
        ..RingConfig::default()
    };
    let queues = KernelQueues::new(&config).map_err(|error| ("setting up a ring", error))?;
    let mut ring = DataRing::new(queues, &config).map_err(|error| ("setting up a ring", error))?;
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| ("listening", error))?;
    let address = listener.local_addr().map_err(|error| ("listening", error))?;
    ring.accept(0, listener.as_fd());
    ring.poll().map_err(|error| ("submitting an accept", error))?;
    let mut client = TcpStream::connect(address).map_err(|error| ("connecting", error))?;
    client.write_all(b"ping").map_err(|error| ("sending", error))?;
    let accepted = accept_one(&mut ring).map_err(|error| ("multishot accept", error))?;
    let token = Token { slot: 0, generation: 1 };
    ring.receive(token, accepted.as_fd());
    let received = receive_one(&mut ring).map_err(|error| ("multishot receive", error))?;
    let batch = Batch::One(Segment::Owned { bytes: received, start: 0 });
    ring.send(token, accepted.as_fd(), false, batch);
    wait_for(&mut ring, |completion| match completion {
        Completion::Sent { result, .. } => Some(result),
        _ => None,
    })
    .and_then(|result| result)
    .map_err(|error| ("send", error))?;
    let timeout = Some(Duration::from_secs(1));
    client.set_read_timeout(timeout).map_err(|error| ("reading", error))?;
    let mut echoed = [0; 4];
    client.read_exact(&mut echoed).map_err(|error| ("reading back", error))?;
    if &echoed != b"ping" {
        return Err(("comparing", io::Error::other("other bytes came back")));
    }
    Ok(())
}

fn wait_for<T>(
    ring: &mut DataRing,
    mut pick: impl FnMut(Completion) -> Option<T>,
) -> io::Result<T> {
    let deadline = Instant::now() + Duration::from_secs(2);
    ring.start_tick();
    while Instant::now() < deadline {
        ring.wait()?;
        while let Some(completion) = ring.next_completion(&mut Pool::new()) {
            if matches!(completion, Completion::Tick) {
                ring.start_tick();
            } else if let Some(picked) = pick(completion) {
                return Ok(picked);
            }
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

fn accept_one(ring: &mut DataRing) -> io::Result<OwnedFd> {
    wait_for(ring, |completion| match completion {
        Completion::Accepted { result, .. } => Some(result),
        _ => None,
    })?
}

fn receive_one(ring: &mut DataRing) -> io::Result<Vec<u8>> {
    let lease = wait_for(ring, |completion| match completion {
        Completion::Received { received: Received::Data(lease), .. } => Some(Ok(lease)),
        Completion::Received { received: Received::Failed(error), .. } => Some(Err(error)),
        Completion::Received { received: Received::NoBuffers, .. } => {
            Some(Err(io::Error::from_raw_os_error(libc::ENOBUFS)))
        }
        _ => None,
    })??;
    let bytes = ring.bytes_mut(&lease).to_vec();
    ring.give_back(lease);
    Ok(bytes)
}
