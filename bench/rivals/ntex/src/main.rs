//! Echo on ntex, on its io_uring runtime with one worker.

use std::io;

use ntex::service::{fn_factory_with_config, fn_service};
use ntex::util::ByteString;
use ntex::web::{self, App, HttpRequest, HttpServer, ws};

#[ntex::main]
async fn main() -> io::Result<()> {
    let address =
        std::env::args().nth(1).ok_or_else(|| io::Error::other("give the address to listen on"))?;
    let tls = stage::tls_config().map_err(|error| io::Error::other(error.to_string()))?;
    let server = HttpServer::new(async || {
        App::new().service(web::resource("/").route(web::get().to(accept)))
    });
    let server = server.workers(1).backlog(4096);
    let server = match tls {
        None => server.bind(address)?,
        Some(config) => server.bind_rustls(address, &config)?,
    };
    server.run().await
}

async fn accept(request: HttpRequest) -> Result<web::HttpResponse, web::Error> {
    let echo = fn_factory_with_config(|_| async { Ok::<_, web::Error>(fn_service(reply)) });
    ws::start::<_, _, &str, web::Error>(request, None, echo).await
}

async fn reply(frame: ws::Frame) -> Result<Option<ws::Message>, io::Error> {
    Ok(match frame {
        ws::Frame::Text(text) => {
            let text = ByteString::try_from(text).map_err(|_| io::Error::other("not UTF-8"))?;
            Some(ws::Message::Text(text))
        }
        ws::Frame::Binary(bytes) => Some(ws::Message::Binary(bytes)),
        ws::Frame::Ping(bytes) => Some(ws::Message::Pong(bytes)),
        ws::Frame::Close(reason) => Some(ws::Message::Close(reason)),
        _ => None,
    })
}
