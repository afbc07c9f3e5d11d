//! What an operator asks over HTTP: health, readiness, metrics, connections. It is for few and
//! short requests: a thread of its own, one request for each connection, a bounded number at once.

mod access;
mod connections;
mod metrics;
mod process;
mod request;

use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::bell::{Bell, Waited};
use super::choice::DriverInUse;
use super::controller::Controller;
use crate::handler::ShardReport;
use crate::protocol::handshake::Status;
pub(super) use access::AdminAccess;
use request::{Request, read_request};

/// Requests answered at once; more wait in the kernel's queue.
const REQUESTS_MAX: usize = 8;
/// Time for a request and its answer.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(5);
/// Time a shard has to answer: it turns many times in a millisecond unless a callback holds it up.
const SHARD_PATIENCE: Duration = Duration::from_secs(1);
/// Connections listed unless another number is asked for.
const LISTED: usize = 100;
/// Most connections listed.
const LISTED_MAX: usize = 10_000;

/// What it tells about.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) controller: Controller,
    pub(super) driver: DriverInUse,
}

/// The admin address, served.
#[derive(Debug)]
pub(super) struct Admin {
    thread: JoinHandle<()>,
    ended: Arc<Bell>,
    pub(super) address: SocketAddr,
}

impl Admin {
    pub(super) fn start(
        socket: OwnedFd,
        address: SocketAddr,
        subject: Subject,
    ) -> io::Result<Self> {
        let listener = TcpListener::from(socket);
        listener.set_nonblocking(true)?;
        let ended = Arc::new(Bell::new()?);
        let bell = Arc::clone(&ended);
        let subject = Arc::new(subject);
        let serve = move || {
            if let Err(error) = serve(&listener, &bell, &subject) {
                tracing::error!(%error, "the admin address is served no more");
            }
        };
        let thread = thread::Builder::new().name("admin".to_owned()).spawn(serve)?;
        Ok(Self { thread, ended, address })
    }

    pub(super) fn end(self) {
        self.ended.ring();
        // A panic of it was printed, and nothing depends on it.
        let _ = self.thread.join();
    }
}

fn serve(listener: &TcpListener, ended: &Bell, subject: &Arc<Subject>) -> io::Result<()> {
    let mut requests: Vec<JoinHandle<()>> = Vec::new();
    while ended.wait_for(listener.as_fd(), None)? != Waited::Rung {
        if subject.controller.has_successor() {
            // It has the same socket and is the one to answer.
            break;
        }
        let Ok((stream, _)) = listener.accept() else {
            // Somebody who left already, or no descriptor: then a pause is better than a spin.
            thread::sleep(Duration::from_millis(10));
            continue;
        };
        requests.retain(|request| !request.is_finished());
        while requests.len() >= REQUESTS_MAX {
            thread::sleep(Duration::from_millis(10));
            requests.retain(|request| !request.is_finished());
        }
        let subject = Arc::clone(subject);
        let answer = move || {
            // Whoever asked has gone.
            let _ = answer(stream, &subject);
        };
        requests.extend(thread::Builder::new().name("admin-request".to_owned()).spawn(answer));
    }
    for request in requests {
        let _ = request.join();
    }
    Ok(())
}

/// An answer: what, of which type, the text.
struct Answer {
    status: Status,
    content_type: &'static str,
    body: String,
}

impl Answer {
    fn text(status: Status, line: impl Into<String>) -> Self {
        let body = line.into() + "\n";
        Self { status, content_type: "text/plain; charset=utf-8", body }
    }
}

fn answer(stream: TcpStream, subject: &Subject) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_write_timeout(Some(REQUEST_TIME_MAX))?;
    let (answer, head_only) = match read_request(&stream, Instant::now() + REQUEST_TIME_MAX)? {
        Ok(request) => (subject.answer(&request), request.head_only),
        Err(reason) => (Answer::text(Status::BAD_REQUEST, reason), false),
    };
    let mut text = format!(
        "HTTP/1.1 {}\r\nConnection: close\r\nCache-Control: no-store\r\n\
         X-Content-Type-Options: nosniff\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n",
        answer.status,
        answer.content_type,
        answer.body.len()
    );
    if !head_only {
        text += &answer.body;
    }
    (&stream).write_all(text.as_bytes())
}

impl Subject {
    fn answer(&self, request: &Request) -> Answer {
        match request.path.as_str() {
            "/healthz" => self.health(),
            "/readyz" if self.controller.is_draining() => {
                Answer::text(Status::SERVICE_UNAVAILABLE, "draining")
            }
            "/readyz" => self.health(),
            "/metrics" | "/debug/connections" => {
                match self.controller.admin_access().check(request) {
                    Ok(()) => self.inside(request),
                    Err(advice) => Answer::text(Status::FORBIDDEN, advice),
                }
            }
            _ => Answer::text(
                Status::NOT_FOUND,
                "there are /healthz, /readyz, /metrics and /debug/connections",
            ),
        }
    }

    /// What is not for everybody.
    fn inside(&self, request: &Request) -> Answer {
        match request.path.as_str() {
            "/metrics" => {
                let reports = self.controller.reports(SHARD_PATIENCE, 0);
                let body = metrics::page(&reports, self.driver, self.controller.is_draining());
                Answer {
                    status: Status::OK,
                    content_type: "text/plain; version=0.0.4; charset=utf-8",
                    body,
                }
            }
            _ => {
                let listed = match request.query_number("limit") {
                    Ok(number) => number.unwrap_or(LISTED).min(LISTED_MAX),
                    Err(reason) => return Answer::text(Status::BAD_REQUEST, reason),
                };
                let reports = self.controller.reports(SHARD_PATIENCE, listed);
                let body = connections::page(&reports, listed);
                Answer { status: Status::OK, content_type: "application/json", body }
            }
        }
    }

    fn health(&self) -> Answer {
        if self.controller.is_draining() {
            // Shards end one by one, as they should.
            return Answer::text(Status::OK, "draining");
        }
        let reports = self.controller.reports(SHARD_PATIENCE, 0);
        match reports.iter().position(Option::is_none) {
            None => Answer::text(Status::OK, "ok"),
            Some(shard) => Answer::text(
                Status::SERVICE_UNAVAILABLE,
                format!("shard {shard} does not turn: it has ended, or a callback holds it up"),
            ),
        }
    }
}

/// Reports by shard, those who did not answer included.
type Reports = [Option<ShardReport>];
