//! A server that follows a script and keeps account of it: it sends messages back, or to everybody.
//! Two threads for each connection and blocking calls: it is as simple as it can be, so that what it
//! did is beyond doubt.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use ringsock::protocol::handshake::accept_value;

/// What is done wrong. A count of zero means never; all counts are of the messages for one connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Script {
    /// Between a message and its answer.
    pub(crate) delay: Duration,
    pub(crate) lose_every: u64,
    pub(crate) repeat_every: u64,
    /// The answer comes after that to the next message.
    pub(crate) swap_every: u64,
    /// Before this message is answered, nothing is for so long.
    pub(crate) stall: Option<(u64, Duration)>,
    /// From this message on nothing is answered any more.
    pub(crate) silent_from: Option<u64>,
    /// The first connection is ended instead of an answer to this message.
    pub(crate) first_leaves_at: Option<u64>,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) received: u64,
    pub(crate) lost: u64,
    pub(crate) repeated: u64,
    /// Answers that came after a later one.
    pub(crate) swapped: u64,
}

/// When it happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Moments {
    /// Each connection, in the order in which they came.
    pub(crate) connected: Vec<Instant>,
    pub(crate) first_message: Option<Instant>,
}

#[derive(Debug, Default)]
struct Counts {
    received: AtomicU64,
    lost: AtomicU64,
    repeated: AtomicU64,
    swapped: AtomicU64,
    moments: Mutex<Moments>,
}

/// A running server; its threads end with its connections.
pub(crate) struct ScriptedServer {
    address: SocketAddr,
    counts: Arc<Counts>,
}

/// Who receives what comes: of an echo nobody but its sender.
type Members = Option<Arc<Mutex<Vec<Sender<Arrival>>>>>;

impl ScriptedServer {
    /// An echo server.
    pub(crate) fn start(script: Script) -> Self {
        Self::start_for(script, None)
    }

    /// One that sends everything to everybody; who is connected is a member.
    pub(crate) fn start_fan_out(script: Script) -> Self {
        Self::start_for(script, Some(Arc::default()))
    }

    fn start_for(script: Script, members: Members) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, counts) = (listener.local_addr().unwrap(), Arc::new(Counts::default()));
        let shared = Arc::clone(&counts);
        thread::spawn(move || {
            for (index, socket) in listener.incoming().enumerate() {
                let first_leaves_at = script.first_leaves_at.filter(|_| index == 0);
                let script = Script { first_leaves_at, ..script };
                let (socket, counts) = (socket.unwrap(), Arc::clone(&shared));
                counts.moments.lock().unwrap().connected.push(Instant::now());
                let members = members.clone();
                thread::spawn(move || serve(socket, script, &members, &counts));
            }
        });
        Self { address, counts }
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/", self.address)
    }

    pub(crate) fn moments(&self) -> Moments {
        self.counts.moments.lock().unwrap().clone()
    }

    pub(crate) fn did(&self) -> Account {
        let get = |count: &AtomicU64| count.load(Ordering::SeqCst);
        Account {
            received: get(&self.counts.received),
            lost: get(&self.counts.lost),
            repeated: get(&self.counts.repeated),
            swapped: get(&self.counts.swapped),
        }
    }
}

fn serve(mut socket: TcpStream, script: Script, members: &Members, counts: &Arc<Counts>) {
    socket.set_nodelay(true).unwrap();
    let (arrived, arrivals) = channel();
    // Before the handshake is complete: who is connected misses nothing.
    if let Some(members) = members {
        members.lock().unwrap().push(arrived.clone());
    }
    if upgrade(&mut socket).is_none() {
        return;
    }
    let (writer, counted) = (socket.try_clone().unwrap(), Arc::clone(counts));
    let answers = thread::spawn(move || answer(writer, script, &arrivals, &counted));
    read(&mut socket, &arrived, members, counts);
    drop(arrived);
    answers.join().unwrap();
    let _ = socket.shutdown(Shutdown::Both);
}

fn upgrade(socket: &mut TcpStream) -> Option<()> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        socket.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let key = head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
    let accept = accept_value(key.trim().as_bytes());
    let accept = std::str::from_utf8(&accept).unwrap();
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    socket.write_all(response.as_bytes()).ok()
}

/// What has come from a client.
#[derive(Clone)]
enum Arrival {
    Message(Instant, Vec<u8>),
    Ping(Vec<u8>),
    Close,
}

/// Takes masked frames of up to 125 bytes until the connection closes.
fn read(socket: &mut TcpStream, arrived: &Sender<Arrival>, members: &Members, counts: &Counts) {
    let mut header = [0; 6];
    while socket.read_exact(&mut header).is_ok() {
        let length = usize::from(header[1] & 0x7F);
        assert!(length <= 125, "the tests send small messages");
        let mut payload = vec![0; length];
        if socket.read_exact(&mut payload).is_err() {
            return;
        }
        for (index, byte) in payload.iter_mut().enumerate() {
            *byte ^= header[2 + index % 4];
        }
        let arrival = match header[0] & 0x0F {
            8 => Arrival::Close,
            9 => Arrival::Ping(payload),
            _ => {
                let now = Instant::now();
                counts.received.fetch_add(1, Ordering::SeqCst);
                counts.moments.lock().unwrap().first_message.get_or_insert(now);
                Arrival::Message(now, payload)
            }
        };
        if let (Arrival::Message(..), Some(members)) = (&arrival, members) {
            let members = members.lock().unwrap();
            // One that has gone needs none.
            members.iter().for_each(|member| drop(member.send(arrival.clone())));
            continue;
        }
        let is_last = matches!(arrival, Arrival::Close);
        if arrived.send(arrival).is_err() || is_last {
            return;
        }
    }
}

/// Answers by the script.
fn answer(mut socket: TcpStream, script: Script, arrivals: &Receiver<Arrival>, counts: &Counts) {
    let is_turn = |every: u64, number: u64| every > 0 && number.is_multiple_of(every);
    let (mut number, mut kept) = (0_u64, None::<Vec<u8>>);
    while let Ok(arrival) = arrivals.recv() {
        let (came, payload) = match arrival {
            Arrival::Message(came, payload) => (came, payload),
            Arrival::Ping(payload) => {
                if socket.write_all(&frame(0x8A, &payload)).is_err() {
                    return;
                }
                continue;
            }
            Arrival::Close => break,
        };
        number += 1;
        if let Some((at, pause)) = script.stall
            && at == number
        {
            thread::sleep(pause);
        }
        thread::sleep((came + script.delay).saturating_duration_since(Instant::now()));
        if script.first_leaves_at == Some(number) {
            let _ = socket.shutdown(Shutdown::Both);
            return;
        }
        if is_turn(script.lose_every, number) || script.silent_from.is_some_and(|at| number >= at) {
            counts.lost.fetch_add(1, Ordering::SeqCst);
            continue;
        }
        if is_turn(script.swap_every, number) && kept.is_none() {
            kept = Some(payload);
            continue;
        }
        let mut out = frame(0x82, &payload);
        if is_turn(script.repeat_every, number) {
            counts.repeated.fetch_add(1, Ordering::SeqCst);
            out.extend(frame(0x82, &payload));
        }
        if let Some(kept) = kept.take() {
            counts.swapped.fetch_add(1, Ordering::SeqCst);
            out.extend(frame(0x82, &kept));
        }
        if socket.write_all(&out).is_err() {
            return;
        }
    }
    // What was kept for the next message, which never came, was lost.
    if kept.is_some() {
        counts.lost.fetch_add(1, Ordering::SeqCst);
    }
    let _ = socket.write_all(&[0x88, 2, 3, 0xE8]);
}

/// A whole frame; its first byte says what it is.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, payload.len() as u8], payload].concat()
}
