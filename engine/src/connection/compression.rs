//! permessage-deflate on a connection (RFC 7692): which messages are compressed, where contexts are
//! kept and what they may take. The compressing itself is the protocol's.
//!
//! Without context takeover a connection holds four bytes, and one compressor and one inflater serve
//! all of a shard.

use super::open::COPY_BYTES_MAX;
use super::{Application, Connection, Phase, Services};
use crate::buffer::{HEADROOM_BYTES, Pool, Segment};
use crate::protocol::deflate::{
    CompressionContext, Compressor, Deflate, DeflateAgreement, History, Inflater,
};
use crate::protocol::handshake::Request;
use crate::protocol::{
    Encoder, FrameHeader, HEADER_BYTES_MAX, MessageKind, ProtocolError, Received, Role,
};

/// Whether a message is sent compressed. It counts only where both ends agreed on compression, and
/// a message that would not become shorter is sent as it is, unless the threshold is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compress {
    /// From [`Deflate::threshold_bytes`] on.
    #[default]
    Auto,
    /// Whatever its length.
    Always,
    /// Not: it is compressed already, or mixes secrets with what a stranger chose (RFC 7692
    /// section 8).
    Never,
}

/// What the connections of one shard share for compression.
#[derive(Debug, Default)]
pub struct Compression {
    /// How upgrade requests that offer it are answered; `None` declines.
    accepted: Option<Deflate>,
    threshold_bytes: usize,
    /// Made when the first message needs them.
    tools: Option<Box<Tools>>,
    /// Bytes that contexts of open connections may come to hold.
    promised_bytes: usize,
}

#[derive(Debug, Default)]
struct Tools {
    compressor: Compressor,
    inflater: Inflater,
}

impl Compression {
    /// Accepts what clients offer, in this way.
    pub fn accept(&mut self, deflate: Deflate) {
        self.accepted = Some(deflate);
        self.threshold_bytes = deflate.threshold_bytes;
    }

    /// Bytes that contexts of open connections may come to hold.
    #[must_use]
    pub fn promised_bytes(&self) -> usize {
        self.promised_bytes
    }

    fn tools(&mut self) -> &mut Tools {
        let all = self.threshold_bytes == 0;
        self.tools.get_or_insert_with(|| {
            let mut tools = Tools::default();
            if all {
                tools.compressor = tools.compressor.keeping_longer();
            }
            Box::new(tools)
        })
    }

    pub(super) fn compressor(&mut self) -> &mut Compressor {
        &mut self.tools().compressor
    }

    /// The agreement with a client and the header value that says so. While too much is promised to
    /// others, there is no context takeover.
    pub(super) fn choose(
        &self,
        request: &Request<'_>,
        contexts_bytes_max: usize,
    ) -> Option<(DeflateAgreement, String)> {
        let wanted = self.accepted.as_ref()?;
        let chosen = wanted.choose(request.extensions())?;
        if self.promised_bytes + chosen.0.memory_bytes() <= contexts_bytes_max {
            return Some(chosen);
        }
        wanted.without_takeover().choose(request.extensions())
    }
}

/// What a connection with context takeover keeps between messages.
#[derive(Debug, Default)]
pub(super) struct Contexts {
    sending: Option<CompressionContext>,
    receiving: Option<History>,
}

impl Connection {
    /// What was agreed with the peer on compression.
    #[must_use]
    pub fn compression(&self) -> Option<DeflateAgreement> {
        self.agreement
    }

    /// Compresses and restores from here on. Without a server's own setting the threshold is that
    /// of the latest connection.
    pub(super) fn agree(
        &mut self,
        agreement: DeflateAgreement,
        threshold_bytes: Option<usize>,
        services: &mut Services,
    ) {
        let compression = &mut services.compression;
        if let (None, Some(bytes)) = (&compression.accepted, threshold_bytes) {
            compression.threshold_bytes = bytes;
        }
        compression.promised_bytes += agreement.memory_bytes();
        services.counters.opened_compressed += 1;
        self.decoder.accept_compressed();
        self.agreement = Some(agreement);
    }

    /// Gives back what context takeover was promised and holds.
    pub(super) fn release_contexts(&mut self, services: &mut Services) {
        if let Some(agreement) = self.agreement.take() {
            services.compression.promised_bytes -= agreement.memory_bytes();
            if let Some(rare) = &mut self.rare {
                rare.contexts = Contexts::default();
            }
        }
    }

    /// Whether a message is compressed, if that makes it shorter.
    pub(super) fn wants_compressed(
        &self,
        compress: Compress,
        payload_bytes: usize,
        services: &Services,
    ) -> bool {
        self.agreement.is_some()
            && match compress {
                Compress::Auto => payload_bytes >= services.compression.threshold_bytes,
                Compress::Always => true,
                Compress::Never => false,
            }
    }

    /// Queues a message in compressed form, if that was agreed on, is wanted and makes it shorter.
    pub(super) fn queue_compressed(
        &mut self,
        compress: Compress,
        kind: MessageKind,
        payload: &[u8],
        services: &mut Services,
    ) -> bool {
        let Some(agreement) = self.agreement else { return false };
        if !self.wants_compressed(compress, payload.len(), services) {
            return false;
        }
        let mut vector = with_headroom(&mut services.pool, payload.len() / 4);
        let compressor = &mut services.compression.tools().compressor;
        let bits = agreement.send_window_bits;
        let shorter = if agreement.send_takeover {
            let contexts = &mut self.rare.get_or_insert_default().contexts;
            let context = contexts.sending.get_or_insert_with(|| CompressionContext::new(bits));
            compressor.compress_on(context, payload, &mut vector)
        } else {
            compressor.compress(payload, bits, &mut vector)
        };
        if !shorter {
            services.pool.give(vector);
            return false;
        }
        let compressed_bytes = (vector.len() - HEADROOM_BYTES) as u64;
        services.count_compressed(1, payload.len() as u64, compressed_bytes);
        self.queue_compressed_frame(kind, vector, services);
        true
    }

    /// Queues the frame for a compressed payload behind its headroom.
    fn queue_compressed_frame(
        &mut self,
        kind: MessageKind,
        mut vector: Vec<u8>,
        services: &mut Services,
    ) {
        let compressed = &vector[HEADROOM_BYTES..];
        let (opcode, payload_bytes) = (kind.opcode(), compressed.len() as u64);
        if self.role == Role::Server && compressed.len() >= COPY_BYTES_MAX {
            let header =
                FrameHeader { fin: true, compressed: true, opcode, mask: None, payload_bytes };
            let (header, size) = header.encode();
            let start = HEADROOM_BYTES - size;
            vector[start..HEADROOM_BYTES].copy_from_slice(&header[..size]);
            return self.queue.push(Segment::Owned { bytes: vector, start }, &mut services.pool);
        }
        let encoder = Encoder::new(self.role);
        let masks = &mut services.masks;
        self.queue.append(&mut services.pool, compressed.len() + HEADER_BYTES_MAX, |out| {
            encoder.compressed_message(out, kind, compressed, &mut || masks.next_mask());
        });
        services.pool.give(vector);
    }

    /// Restores a compressed message and delivers it.
    pub(super) fn receive_compressed(
        &mut self,
        kind: MessageKind,
        compressed: Received<'_>,
        services: &mut Services,
        application: &mut impl Application,
    ) {
        if self.phase == Phase::Open {
            match self.restore(kind, compressed.bytes(), services) {
                Ok(vector) => {
                    self.deliver(kind, Received::Assembled(vector), services, application);
                }
                Err(error) => self.fail(error, services, application),
            }
        }
        if let Received::Assembled(vector) = compressed {
            services.pool.give(vector);
        }
    }

    fn restore(
        &mut self,
        kind: MessageKind,
        compressed: &[u8],
        services: &mut Services,
    ) -> Result<Vec<u8>, ProtocolError> {
        let agreement = self.agreement.ok_or(ProtocolError::ReservedBit)?;
        let message_bytes_max = services.limits.message_bytes_max;
        let expected = compressed.len().saturating_mul(4).min(message_bytes_max);
        let mut vector = with_headroom(&mut services.pool, expected);
        let history = agreement.receive_takeover.then(|| {
            let contexts = &mut self.rare.get_or_insert_default().contexts;
            contexts.receiving.get_or_insert_with(|| History::new(agreement.receive_window_bits))
        });
        let inflater = &mut services.compression.tools().inflater;
        let restored = inflater.inflate(kind, compressed, history, message_bytes_max, &mut vector);
        match restored.and_then(|()| agreement.check_window(compressed)) {
            Ok(()) => Ok(vector),
            Err(error) => {
                services.pool.give(vector);
                Err(error)
            }
        }
    }
}

fn with_headroom(pool: &mut Pool, bytes: usize) -> Vec<u8> {
    let mut vector = pool.take(HEADROOM_BYTES + bytes);
    vector.resize(HEADROOM_BYTES, 0);
    vector
}
