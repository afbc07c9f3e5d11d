//! A client for a single connection, blocking and plain: it sees what a server answers to the byte,
//! and holds idle connections. All load is made by the load generator.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use ringsock_bench::frame_sizes::frame_bytes;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::Result;
use crate::load::Load;
use crate::materials::Materials;

const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a head beyond which no server answers.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// The bits of a frame's first byte (RFC 6455 section 5.2, RFC 7692 section 6).
const FIN: u8 = 0x80;
const COMPRESSED: u8 = 0x40;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;

/// Opens connections, and trusts the certificate of the materials alone.
pub(crate) struct Caller {
    tls: Arc<ClientConfig>,
}

/// A connection that was upgraded.
pub(crate) struct Call {
    stream: Box<dyn Stream>,
    /// The cipher suite that was agreed on, with TLS.
    pub(crate) cipher_suite: Option<String>,
}

/// A message that came back in one frame.
pub(crate) struct Reply {
    pub(crate) is_compressed: bool,
    /// As it was on the wire.
    pub(crate) payload: Vec<u8>,
}

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

impl Caller {
    /// Reads the certificate.
    pub(crate) fn new(materials: &Materials) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(materials.certificate())?)?;
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { tls: Arc::new(config) })
    }

    /// Connects to a server as the load does, and is upgraded.
    pub(crate) fn call(&self, address: SocketAddr, load: Load) -> Result<Call> {
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(REPLY_TIMEOUT))?;
        if !load.tls {
            let mut stream: Box<dyn Stream> = Box::new(socket);
            upgrade(&mut *stream, load.deflate)?;
            return Ok(Call { stream, cipher_suite: None });
        }
        let name = ServerName::from(address.ip());
        let session = ClientConnection::new(Arc::clone(&self.tls), name)?;
        let mut stream = StreamOwned::new(session, socket);
        upgrade(&mut stream, load.deflate)?;
        let suite = stream.conn.negotiated_cipher_suite();
        let cipher_suite = suite.map(|suite| format!("{:?}", suite.suite()));
        Ok(Call { stream: Box::new(stream), cipher_suite })
    }
}

fn upgrade(stream: &mut dyn Stream, deflate: bool) -> Result<()> {
    let extensions = match deflate {
        // As the load generator offers it.
        true => {
            "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
             client_no_context_takeover\r\n"
        }
        false => "",
    };
    write!(
        stream,
        "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{extensions}\r\n"
    )?;
    stream.flush()?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD_BYTES_MAX {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    match head.starts_with(b"HTTP/1.1 101 ") {
        true => Ok(()),
        false => Err(format!("no upgrade: {}", String::from_utf8_lossy(&head)).into()),
    }
}

impl Call {
    /// Sends a message, not compressed, and returns what comes back.
    pub(crate) fn exchange(&mut self, opcode: u8, payload: &[u8]) -> Result<Reply> {
        let mut frame = Vec::with_capacity(frame_bytes(payload.len(), true));
        frame.push(FIN | opcode);
        match u16::try_from(payload.len())? {
            short @ 0..=125 => frame.push(0x80 | short as u8),
            medium => {
                frame.push(0x80 | 126);
                frame.extend(medium.to_be_bytes());
            }
        }
        // Masked with a key of zeros: the payload is as it is.
        frame.extend([0; 4]);
        frame.extend(payload);
        self.stream.write_all(&frame)?;
        self.stream.flush()?;
        let [first, length] = self.read_array()?;
        let length = match length {
            0..=125 => usize::from(length),
            126 => u16::from_be_bytes(self.read_array()?).into(),
            _ => return Err("a frame came back that is longer than what was sent".into()),
        };
        let mut reply = vec![0; length];
        self.stream.read_exact(&mut reply)?;
        if first & !COMPRESSED != FIN | opcode {
            return Err(format!("a frame came back that begins with {first:#04x}").into());
        }
        Ok(Reply { is_compressed: first & COMPRESSED != 0, payload: reply })
    }

    fn read_array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}
