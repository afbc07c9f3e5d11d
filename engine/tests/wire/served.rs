//! The engine as an echo server in this process. Nothing here connects to it.

use std::time::Duration;

use ringsock::{Conn, Cores, Deflate, Driver, Handler, Limits, Message, Running, Server};

use crate::certificate::Certificate;
use crate::secured::Secured;
use crate::socket;
use crate::subject::{Effort, Subject};

/// Deadlines short enough to wait for, and long enough that a busy machine keeps them apart.
const SHORT_DEADLINE: Duration = Duration::from_millis(500);

struct Echo;

impl Handler for Echo {
    type State = ();

    fn on_message(&mut self, conn: &mut Conn<'_, ()>, message: Message<'_>) {
        let _queued = conn.send(message);
    }
}

/// Sizes of the server's buffers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Buffers {
    /// As they are in use.
    Usual,
    /// So small that everything that can be cut is cut.
    Tiny,
    /// As usual, but received one operation at a time, as old kernels have it.
    OneShot,
}

/// What is between the server and its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Nothing.
    Plain,
    /// TLS.
    Tls,
}

/// Lengths of the server's deadlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deadlines {
    /// As they are in use, too long to wait for.
    Usual,
    /// Short.
    Short,
}

/// A running server, stopped when dropped.
pub(crate) struct Served {
    running: Option<Running>,
    /// How to reach it.
    pub(crate) server: Box<dyn Subject + Sync>,
}

impl Served {
    /// Starts a server of one shard on a free port of the loopback interface.
    pub(crate) fn start(
        driver: Driver,
        transport: Transport,
        buffers: Buffers,
        deadlines: Deadlines,
    ) -> Self {
        let mut limits = Limits::default();
        let mut deadline = None;
        if deadlines == Deadlines::Short {
            deadline = Some(SHORT_DEADLINE);
            limits.handshake_timeout = SHORT_DEADLINE;
            limits.assembly_timeout = SHORT_DEADLINE;
            limits.close_timeout = SHORT_DEADLINE;
            limits.linger_timeout = SHORT_DEADLINE;
        }
        let builder = Server::builder().listen("127.0.0.1:0").expect("a free port");
        let builder = builder.cores(Cores::List(vec![0])).driver(driver).limits(limits);
        let builder = builder.deflate(Deflate::default());
        let builder = match buffers {
            Buffers::Usual => builder,
            Buffers::Tiny => builder.tiny_buffers(),
            Buffers::OneShot => builder.one_shot_operations(),
        };
        let certificate = Certificate::issue();
        let builder = match transport {
            Transport::Plain => builder,
            Transport::Tls => builder.tls(certificate.tls()),
        };
        let running = builder.start(|_shard| Echo).expect("the server starts");
        let address = running.addresses()[0];
        // Each cut of a secured stream costs a handshake, and tiny buffers cut by themselves.
        let all = matches!((transport, buffers), (Transport::Plain, Buffers::Usual));
        let effort = if all { Effort::All } else { Effort::Few };
        let server = socket::Server { address, deadline, effort };
        let server: Box<dyn Subject + Sync> = match transport {
            Transport::Plain => Box::new(server),
            Transport::Tls => Box::new(Secured { server, config: certificate.client_config() }),
        };
        Self { running: Some(running), server }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.controller().stop();
            let ended = running.join();
            if !std::thread::panicking() {
                ended.expect("the server ends without an error");
            }
        }
    }
}
