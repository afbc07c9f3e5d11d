//! The world of a simulation: sockets whose other ends tests play, and dice. It knows no rings.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

/// Dice that fall the same way for the same seed.
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `bound`, which is not nought.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % bound as u64) as usize
    }

    /// From 1 to `most`, small ones and the largest more often.
    pub(crate) fn some_of(&mut self, most: usize) -> usize {
        match self.below(4) {
            0 => 1 + self.below(most.min(8)),
            1 => most,
            _ => 1 + self.below(most),
        }
    }

    /// True once in so many times.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

/// How often things go wrong: once in so many times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Odds {
    /// A call is interrupted before it has done anything.
    pub(crate) interrupted: usize,
    /// An operation that could go on does so in this call.
    pub(crate) idle: usize,
    /// A multishot operation ends although nothing is wrong.
    pub(crate) multishot_ends: usize,
    /// There is no buffer although there is one.
    pub(crate) no_buffer: usize,
    /// A send ends with part of its bytes.
    pub(crate) short_send: usize,
    /// What is to be cancelled goes on once more first.
    pub(crate) cancel_late: usize,
    /// A completion comes that belongs to nothing.
    pub(crate) stale: usize,
    /// An accept fails.
    pub(crate) accept_fails: usize,
}

impl Odds {
    /// A kernel that does everything at once and right.
    pub(crate) const GENTLE: Self = Self {
        interrupted: usize::MAX,
        idle: usize::MAX,
        multishot_ends: usize::MAX,
        no_buffer: usize::MAX,
        short_send: usize::MAX,
        cancel_late: usize::MAX,
        stale: usize::MAX,
        accept_fails: usize::MAX,
    };

    /// One that does whatever it may.
    pub(crate) const HOSTILE: Self = Self {
        interrupted: 10,
        idle: 2,
        multishot_ends: 6,
        no_buffer: 12,
        short_send: 6,
        cancel_late: 2,
        stale: 20,
        accept_fails: 6,
    };
}

/// A connected socket of the server's.
#[derive(Debug)]
pub(crate) struct Socket {
    /// Names the connection; descriptors are used again.
    id: u64,
    /// What the peer has sent and the server has not received.
    pub(crate) to_server: VecDeque<u8>,
    /// The peer sends nothing more.
    pub(crate) peer_finished: bool,
    /// The peer has reset the connection.
    pub(crate) reset: bool,
    /// What the server has sent and the peer has not read.
    pub(crate) to_peer: Vec<u8>,
    /// Bytes the peer still takes.
    pub(crate) window: usize,
    /// The other end of the descriptor that the server has: it tells of a shutdown.
    other_end: UnixStream,
    /// The server has shut its direction.
    pub(crate) server_finished: bool,
}

/// Everything outside the rings.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) dice: Dice,
    pub(crate) odds: Odds,
    /// Milliseconds since the beginning.
    pub(crate) now: u32,
    sockets: HashMap<RawFd, Socket>,
    /// The descriptor of each connection that the server has not closed.
    descriptors: HashMap<u64, RawFd>,
    /// What the server had sent on connections that it has closed.
    remains: HashMap<u64, Vec<u8>>,
    connections: u64,
    /// Connections that wait to be accepted, by listener.
    pub(super) waiting: HashMap<RawFd, VecDeque<OwnedFd>>,
    /// How often each thing went wrong, so that a test can see that it did.
    pub(crate) mishaps: Mishaps,
}

/// Counts of what went wrong.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mishaps {
    pub(crate) interrupted: u32,
    pub(crate) multishot_ends: u32,
    pub(crate) no_buffer: u32,
    pub(crate) short_sends: u32,
    pub(crate) late_cancels: u32,
    pub(crate) cancelled_sends: u32,
    pub(crate) stale: u32,
    pub(crate) failed_accepts: u32,
    pub(crate) resets: u32,
}

impl World {
    pub(crate) fn new(seed: u64, odds: Odds) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            dice: Dice::new(seed),
            odds,
            now: 0,
            sockets: HashMap::new(),
            descriptors: HashMap::new(),
            remains: HashMap::new(),
            connections: 0,
            waiting: HashMap::new(),
            mishaps: Mishaps::default(),
        }))
    }

    /// Whether something with these odds happens now.
    pub(super) fn happens(&mut self, odds: impl Fn(&Odds) -> usize) -> bool {
        let odds = odds(&self.odds);
        odds < usize::MAX && self.dice.once_in(odds)
    }

    /// A descriptor for a listener, of which the world knows only its number.
    pub(crate) fn listen(&mut self) -> OwnedFd {
        let (listener, _) = UnixStream::pair().expect("two descriptors");
        let listener = OwnedFd::from(listener);
        self.waiting.insert(listener.as_raw_fd(), VecDeque::new());
        listener
    }

    /// A peer connects and takes so many bytes at first.
    pub(crate) fn connect(&mut self, listener: RawFd, window: usize) -> u64 {
        let (server, other_end) = UnixStream::pair().expect("two descriptors");
        other_end.set_nonblocking(true).expect("it can be made non-blocking");
        let fd = server.as_raw_fd();
        let id = self.connections;
        self.connections += 1;
        let socket = Socket {
            id,
            to_server: VecDeque::new(),
            peer_finished: false,
            reset: false,
            to_peer: Vec::new(),
            window,
            other_end,
            server_finished: false,
        };
        self.sockets.insert(fd, socket);
        self.descriptors.insert(id, fd);
        self.waiting.get_mut(&listener).expect("a listener").push_back(server.into());
        id
    }

    /// A connection that the server has not closed.
    pub(crate) fn connection(&mut self, id: u64) -> Option<&mut Socket> {
        self.sockets.get_mut(self.descriptors.get(&id)?)
    }

    /// What was sent on a connection that the server has closed.
    pub(crate) fn take_remains(&mut self, id: u64) -> Option<Vec<u8>> {
        self.remains.remove(&id)
    }

    /// The socket of an operation under way.
    pub(super) fn socket(&mut self, fd: RawFd) -> &mut Socket {
        self.sockets.get_mut(&fd).expect("a socket that is used is open")
    }

    /// The server closes a socket.
    pub(super) fn close(&mut self, fd: RawFd) {
        let socket = self.sockets.remove(&fd).expect("a socket is closed once");
        self.descriptors.remove(&socket.id);
        self.remains.insert(socket.id, socket.to_peer);
    }

    /// Notes which sockets the server has shut.
    pub(super) fn look_for_shutdowns(&mut self) {
        for socket in self.sockets.values_mut().filter(|socket| !socket.server_finished) {
            socket.server_finished = matches!(socket.other_end.read(&mut [0]), Ok(0));
        }
    }
}
