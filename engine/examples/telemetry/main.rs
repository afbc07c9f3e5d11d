//! Devices push JSON points, which are parsed where they were received; each shard sums up what its
//! devices say once a second, and viewers follow single devices or all of them.
//! `cargo run --release --example telemetry`, then open <http://127.0.0.1:9001/>.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringsock::client::Outbound;
use ringsock::http::{Page, Request, Status};
use ringsock::server::ShardInfo;
use ringsock::topics::Subscribe;
use ringsock::{CloseCode, Conn, Handler, Message, Server, Text, Upgrade, publish, spawn};
use serde::{Deserialize, Serialize};

/// What a device sends: `{"metric":"temperature","value":21.5}`.
#[derive(Deserialize)]
struct Point<'a> {
    metric: &'a str,
    value: f64,
}

/// What a viewer of that device gets.
#[derive(Serialize)]
struct Sample<'a> {
    device: &'a str,
    metric: &'a str,
    value: f64,
}

#[derive(Clone, Copy, Serialize)]
struct Summary {
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
}

/// A shard's sums since it last told them, by metric.
type Sums = Rc<RefCell<BTreeMap<String, Summary>>>;

#[derive(Serialize)]
struct Report<'a> {
    shard: usize,
    metrics: &'a BTreeMap<String, Summary>,
}

/// `/push/{device}`
struct Push {
    shard: usize,
    sums: Sums,
    buffers: simd_json::Buffers,
}

/// The name of the device.
type Device = String;

impl Push {
    fn new(info: ShardInfo) -> Self {
        Self { shard: info.shard, sums: Sums::default(), buffers: simd_json::Buffers::default() }
    }
}

impl Handler for Push {
    type State = Device;

    fn on_start(&mut self, _outbound: &mut Outbound<Device>) {
        spawn(report_every_second(self.shard, Rc::clone(&self.sums)));
    }

    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<Device> {
        match request.param("device") {
            Some(device) if !device.is_empty() => Upgrade::accept(device.to_owned()),
            _ => Upgrade::reject(Status::BAD_REQUEST, "name the device: /push/pump-7"),
        }
    }

    fn on_message(&mut self, conn: &mut Conn<'_, Device>, mut message: Message<'_>) {
        // Strings are unescaped in the receive buffer itself: nothing is copied.
        let bytes = message.payload();
        let parsed = simd_json::serde::from_slice_with_buffers(bytes, &mut self.buffers);
        let Point { metric, value } = match parsed {
            Ok(point) => point,
            Err(error) => return conn.close(CloseCode::INVALID_PAYLOAD, &error.to_string()),
        };
        add(&mut self.sums.borrow_mut(), metric, value);
        let sample = Sample { device: conn.state(), metric, value };
        let Ok(text) = serde_json::to_string(&sample) else { return };
        let topic = format!("live/{}", sample.device);
        conn.publish(&topic, Text(text));
    }
}

fn add(sums: &mut BTreeMap<String, Summary>, metric: &str, value: f64) {
    match sums.get_mut(metric) {
        Some(summary) => {
            summary.count += 1;
            summary.sum += value;
            summary.min = summary.min.min(value);
            summary.max = summary.max.max(value);
        }
        None => {
            let first = Summary { count: 1, sum: value, min: value, max: value };
            sums.insert(metric.to_owned(), first);
        }
    }
}

/// On absolute deadlines, so that reports do not drift.
async fn report_every_second(shard: usize, sums: Sums) {
    let mut next = Instant::now();
    loop {
        next += Duration::from_secs(1);
        monoio::time::sleep_until(next.into()).await;
        let metrics = sums.take();
        if let Ok(text) = serde_json::to_string(&Report { shard, metrics: &metrics }) {
            publish("summary", Text(text));
        }
    }
}

/// `/live/{device}`: that device, or all of them for `*`; and the sums.
struct Live;

impl Handler for Live {
    type State = Device;

    fn on_upgrade(&mut self, request: &Request<'_>) -> Upgrade<Device> {
        Upgrade::accept(request.param("device").unwrap_or_default().to_owned())
    }

    fn on_open(&mut self, conn: &mut Conn<'_, Device>) {
        conn.subscribe("summary");
        // What a viewer chose is a name and never a pattern, however it is written.
        let subscribed = match conn.state().as_str() {
            "*" => conn.subscribe_matching("live/*"),
            device => {
                let topic = format!("live/{device}");
                conn.subscribe_with(&topic, Subscribe::default()).map(drop)
            }
        };
        if let Err(error) = subscribed {
            conn.close(CloseCode::POLICY_VIOLATION, &error.to_string());
        }
    }

    fn on_message(&mut self, conn: &mut Conn<'_, Device>, _message: Message<'_>) {
        conn.close(CloseCode::POLICY_VIOLATION, "this path only tells: push to /push/{device}");
    }
}

/// The example's arguments: where to listen.
fn address() -> String {
    std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned())
}

fn main() -> ringsock::Result<()> {
    Server::builder()
        .listen(&address())?
        .page("/", Page::html(include_str!("page.html")))
        .route("/push/{device}", Push::new)
        .route("/live/{device}", |_shard| Live)
        .run()
}
