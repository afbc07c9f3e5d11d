//! The client role over sockets: connections that a shard opens itself, to servers played here.
//! Each lane is one server and the connections made to it, one after another; lanes run side by
//! side.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use ringsock::client::{Outbound, OutboundRequest};
use ringsock::connection::ClientHandshake;
use ringsock::protocol::handshake::{ClientRequest, Request, Status, WebSocketUrl};
use ringsock::tls::ClientTls;
use ringsock::{CloseInfo, Conn, Cores, Driver, Handler, Message, Server, Upgrade};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use socket2::SockRef;

use crate::answer;
use crate::certificate::Certificate;
use crate::client::{self, ClientRow, Outcome};
use crate::compose::{ACCEPT, Act};
use crate::served::Transport;
use crate::split::Plan;
use crate::subject::Effort;

const LANES: usize = 8;
const PATIENCE: Duration = Duration::from_secs(6);

/// A way of playing one row.
struct Job<'a> {
    row: &'a ClientRow,
    /// Which of the row's plans; the plan itself depends on the client's key.
    plan: usize,
}

impl Job<'_> {
    fn plan(&self, accept: &str, effort: Effort) -> Plan {
        self.row.plans(accept, effort).swap_remove(self.plan)
    }
}

/// What the handler needs to know of a job.
struct Offer {
    subprotocols: Vec<String>,
    deflate: String,
}

/// A lane as the handler sees it.
struct Lane {
    address: SocketAddr,
    offers: Vec<Offer>,
    next: AtomicUsize,
    told: Sender<Outcome>,
}

/// Opens the connections of all lanes and tells what became of each.
struct Caller {
    lanes: Arc<Vec<Lane>>,
    tls: Option<ClientTls>,
}

impl Caller {
    fn call(&self, lane: usize, outbound: &mut Outbound<(usize, Outcome)>) {
        let Lane { address, offers, next, .. } = &self.lanes[lane];
        let Some(offer) = offers.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
        let url = WebSocketUrl::parse("ws://server.example.com/chat").expect("a URL");
        let mut request = ClientRequest::new(&url).expect("a key");
        request.subprotocols.clone_from(&offer.subprotocols);
        request.deflate =
            (!offer.deflate.is_empty()).then(|| offer.deflate.parse().expect("words"));
        let mut handshake = ClientHandshake::new(request).expect("the request can be written");
        if let Some(tls) = &self.tls {
            handshake = handshake.over_tls(tls, "localhost").expect("a name");
        }
        let request = OutboundRequest { address: *address, source: None, handshake };
        outbound.connect(request, (lane, Outcome::default()));
    }

    fn tell(&self, lane: usize, outcome: Outcome) {
        // A lane that has failed does not listen any more.
        let _ = self.lanes[lane].told.send(outcome);
    }
}

impl Handler for Caller {
    type State = (usize, Outcome);

    fn on_start(&mut self, outbound: &mut Outbound<Self::State>) {
        (0..self.lanes.len()).for_each(|lane| self.call(lane, outbound));
    }

    fn on_upgrade(&mut self, _: &Request<'_>) -> Upgrade<Self::State> {
        Upgrade::reject(Status::NOT_FOUND, "it listens nowhere")
    }

    fn on_message(&mut self, conn: &mut Conn<'_, Self::State>, message: Message<'_>) {
        let (kind, content) = (message.kind(), message.bytes().to_vec());
        conn.state_mut().1.messages.push(answer::Message::new(kind, content));
    }

    fn on_close(&mut self, conn: &mut Conn<'_, Self::State>, info: CloseInfo<'_>) {
        let (lane, outcome) = conn.state_mut();
        let (lane, mut outcome) = (*lane, std::mem::take(outcome));
        outcome.close_code = Some(info.code.0);
        self.tell(lane, outcome);
        self.call(lane, conn.outbound());
    }

    fn on_connect_failed(
        &mut self,
        outbound: &mut Outbound<Self::State>,
        (lane, mut outcome): Self::State,
        reason: &str,
    ) {
        outcome.refusal = Some(reason.to_owned());
        self.tell(lane, outcome);
        self.call(lane, outbound);
    }
}

/// One connection as the played server has it.
trait Wire: Read + Write {
    fn socket(&self) -> &TcpStream;
    fn finish_sending(&mut self);
}

impl Wire for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }

    fn finish_sending(&mut self) {
        // Fails when the client was first, which is what the row then finds out.
        let _ = self.shutdown(Shutdown::Write);
    }
}

impl Wire for StreamOwned<ServerConnection, TcpStream> {
    fn socket(&self) -> &TcpStream {
        &self.sock
    }

    fn finish_sending(&mut self) {
        self.conn.send_close_notify();
        let _ = self.flush();
        self.sock.finish_sending();
    }
}

/// Reads until `enough`, or the end of the connection.
fn read_until(wire: &mut dyn Wire, enough: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>, String> {
    let (mut all, mut buffer) = (Vec::new(), [0; 65_536]);
    while !enough(&all) {
        match wire.read(&mut buffer) {
            Ok(0) => break,
            Ok(bytes) => all.extend_from_slice(&buffer[..bytes]),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                    return Err("the client has not ended the connection".to_owned());
                }
                _ => break,
            },
        }
    }
    Ok(all)
}

/// Plays one server; what the client sent after its request.
fn play(mut wire: Box<dyn Wire>, job: &Job<'_>, effort: Effort) -> Result<Vec<u8>, String> {
    let request = read_until(&mut *wire, |bytes| bytes.ends_with(b"\r\n\r\n"))?;
    let request = String::from_utf8(request).map_err(|error| error.to_string())?;
    let accept = client::accept_for(&request, &job.row.offer);
    let plan = job.plan(&accept, effort);
    for act in &plan.acts {
        match act {
            // Fails when the client has ended the connection already.
            Act::Send(segment) => drop(wire.write_all(segment).and_then(|()| wire.flush())),
            Act::FinishSending => wire.finish_sending(),
            Act::Reset => {
                let socket = SockRef::from(wire.socket());
                socket.set_linger(Some(Duration::ZERO)).expect("RST can be asked for");
                return Ok(Vec::new());
            }
            Act::Wait(_) => return Err("client rows do not wait".to_owned()),
        }
        if plan.settle {
            thread::sleep(Duration::from_millis(1));
        }
    }
    read_until(&mut *wire, |_| false)
}

/// Plays the servers of one lane; how many, and a line for each row that failed.
fn run_lane(
    listener: &TcpListener,
    jobs: &[Job<'_>],
    told: &Receiver<Outcome>,
    tls: Option<&Arc<ServerConfig>>,
    effort: Effort,
) -> (usize, Vec<String>) {
    let (mut runs, mut failures) = (0, Vec::new());
    for job in jobs {
        let (socket, _) = listener.accept().expect("the client connects");
        socket.set_nodelay(true).expect("a TCP socket can send at once");
        socket.set_read_timeout(Some(PATIENCE)).expect("patience is not zero");
        let wire: Box<dyn Wire> = match tls {
            None => Box::new(socket),
            Some(config) => {
                let session = ServerConnection::new(Arc::clone(config)).expect("a session begins");
                Box::new(StreamOwned::new(session, socket))
            }
        };
        runs += 1;
        let played = play(wire, job, effort);
        let outcome = told.recv_timeout(PATIENCE).map_err(|_| "the application heard nothing");
        let judged = match (played, outcome) {
            (Ok(sent), Ok(outcome)) => job.row.judge(&sent, &outcome),
            (Err(wrong), _) => Err(wrong),
            (_, Err(wrong)) => Err(wrong.to_owned()),
        };
        if let Err(wrong) = judged {
            failures.push(job.row.failure(&job.plan(ACCEPT, effort), &wrong));
        }
    }
    (runs, failures)
}

/// Runs every row in its splits, over sockets; returns how many runs there were and a line for each
/// that failed.
pub(crate) fn run(
    rows: &[ClientRow],
    driver: Driver,
    transport: Transport,
) -> (usize, Vec<String>) {
    let effort = if transport == Transport::Plain { Effort::All } else { Effort::Few };
    let jobs = rows
        .iter()
        .flat_map(|row| (0..row.plans(ACCEPT, effort).len()).map(move |plan| Job { row, plan }));
    let mut by_lane: Vec<Vec<Job<'_>>> = (0..LANES).map(|_| Vec::new()).collect();
    jobs.enumerate().for_each(|(number, job)| by_lane[number % LANES].push(job));
    let certificate = Certificate::issue();
    let secured = transport == Transport::Tls;
    let config = secured.then(|| certificate.server_config());
    let trusted = || ClientTls::roots_from(certificate.path()).expect("a certificate");
    let tls = secured.then(trusted);
    let mut listeners = Vec::new();
    let lanes = by_lane.iter().map(|jobs| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it has an address");
        let (told, hears) = mpsc::channel();
        listeners.push((listener, hears));
        let offer = |job: &Job<'_>| Offer {
            subprotocols: job.row.offer.clone(),
            deflate: job.row.deflate.clone(),
        };
        Lane { address, offers: jobs.iter().map(offer).collect(), next: AtomicUsize::new(0), told }
    });
    let lanes: Arc<Vec<Lane>> = Arc::new(lanes.collect());
    let server = Server::builder().cores(Cores::List(vec![0])).driver(driver);
    let running = server.start(move |_| Caller { lanes: Arc::clone(&lanes), tls: tls.clone() });
    let running = running.expect("it starts without listening");
    let all = thread::scope(|scope| {
        let lanes = by_lane.iter().zip(listeners).map(|(jobs, (listener, hears))| {
            let config = config.as_ref();
            scope.spawn(move || run_lane(&listener, jobs, &hears, config, effort))
        });
        let lanes: Vec<_> = lanes.collect();
        lanes.into_iter().map(|lane| lane.join().expect("a lane ends")).collect::<Vec<_>>()
    });
    running.controller().stop();
    running.join().expect("it ends without an error");
    let runs = all.iter().map(|(runs, _)| runs).sum();
    (runs, all.into_iter().flat_map(|(_, failures)| failures).collect())
}
