//! Compression there and back at every window, with and without context; and any bytes at all
//! restored by ours and by an independent library.

use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};
use miniz_oxide::inflate::{TINFLStatus, decompress_to_vec};
use ringsock::protocol::deflate::{
    CompressionContext, Compressor, History, Inflater, refers_beyond,
};
use ringsock::protocol::{MessageKind, ProtocolError};

use super::cuts::Cuts;

const MESSAGE_BYTES_MAX: usize = 1 << 16;
/// What a sender leaves out, and an empty last block for a library that wants streams to end.
const END: [u8; 9] = [0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff];

fn inflate(
    inflater: &mut Inflater,
    compressed: &[u8],
    history: Option<&mut History>,
) -> Result<Vec<u8>, ProtocolError> {
    let mut out = Vec::new();
    let kind = MessageKind::Binary;
    inflater.inflate(kind, compressed, history, MESSAGE_BYTES_MAX, &mut out).map(|()| out)
}

fn there_and_back(cuts: Cuts, messages: &[u8], window_bits: u8) {
    let (mut compressor, mut inflater) = (Compressor::new(), Inflater::new());
    let mut context = CompressionContext::new(window_bits);
    let mut history = History::new(window_bits);
    for message in cuts.pieces(messages) {
        // Repeated, so that there is something to refer to.
        let message = message.repeat(3);
        let mut alone = Vec::new();
        if compressor.compress(&message, window_bits, &mut alone) {
            assert!(!refers_beyond(&alone, window_bits));
            assert_eq!(inflate(&mut inflater, &alone, None).as_deref(), Ok(&message[..]));
            alone.extend_from_slice(&END);
            assert_eq!(decompress_to_vec(&alone).ok(), Some(message.clone()));
        }
        let mut referring = Vec::new();
        if compressor.compress_on(&mut context, &message, &mut referring) {
            assert!(!refers_beyond(&referring, window_bits));
            let restored = inflate(&mut inflater, &referring, Some(&mut history));
            assert_eq!(restored.as_deref(), Ok(&message[..]));
        }
    }
}

fn anything(compressed: &[u8]) {
    let ours = inflate(&mut Inflater::new(), compressed, None);
    if ours.is_ok() {
        // No reference is farther back than the format lets it be.
        assert!(!refers_beyond(compressed, 15));
    }
    let input = [compressed, &END].concat();
    let mut out = vec![0; MESSAGE_BYTES_MAX + 1];
    let flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
    let (status, used, written) =
        decompress(&mut DecompressorOxide::default(), &input, &mut out, 0, flags);
    match status {
        // It went through the sender's own blocks and ended at ours.
        TINFLStatus::Done if used == input.len() && written <= MESSAGE_BYTES_MAX => {
            assert_eq!(ours.as_deref(), Ok(&out[..written]));
        }
        // A stream that ended within the message: ours goes on with the next one.
        TINFLStatus::Done => {}
        TINFLStatus::HasMoreOutput => assert_eq!(ours, Err(ProtocolError::MessageTooBig)),
        // Nothing is what some senders make of nothing.
        _ => assert!(ours.is_err() || compressed.is_empty(), "{status:?}, ours {ours:?}"),
    }
}

pub(super) fn run(data: &[u8]) {
    let Some((&first, data)) = data.split_first() else { return };
    match (first & 0x80, Cuts::take(data)) {
        (0, _) => anything(data),
        (_, Some((cuts, messages))) => there_and_back(cuts, messages, 8 + first % 8),
        _ => {}
    }
}
