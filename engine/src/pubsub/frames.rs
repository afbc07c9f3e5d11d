//! Where the frames of a run of bytes end that the engine itself has framed, unmasked. It does not
//! check them.

use crate::protocol::{Encoder, MessageKind, Role};

/// Appends a message as one frame from a server.
pub(super) fn append(out: &mut Vec<u8>, kind: MessageKind, payload: &[u8]) {
    Encoder::new(Role::Server).frame(out, kind.opcode(), true, payload, &mut || [0; 4]);
}

/// Length of the frame of a payload.
pub(super) fn framed_bytes(payload_bytes: usize) -> usize {
    let header = match payload_bytes {
        0..126 => 2,
        126..65_536 => 4,
        _ => 10,
    };
    header + payload_bytes
}

/// Length of the frame that `bytes` begin with; never more than there is.
pub(crate) fn frame_bytes(bytes: &[u8]) -> usize {
    let (header, payload) = match bytes {
        [_, 126, high, low, ..] => (4, u64::from(u16::from_be_bytes([*high, *low]))),
        [_, 127, rest @ ..] => {
            let length = rest.first_chunk::<8>().map_or(u64::MAX, |all| u64::from_be_bytes(*all));
            (10, length)
        }
        [_, length, ..] => (2, u64::from(*length)),
        _ => return bytes.len(),
    };
    usize::try_from(payload)
        .map_or(bytes.len(), |payload| payload.saturating_add(header).min(bytes.len()))
}

/// Length of the payload of a whole frame.
pub(super) fn payload_bytes(frame: &[u8]) -> usize {
    let header = match frame.get(1) {
        Some(126) => 4,
        Some(127) => 10,
        _ => 2,
    };
    frame.len().saturating_sub(header)
}

/// Text or binary.
pub(super) fn kind(frame: &[u8]) -> MessageKind {
    match frame.first().is_some_and(|first| first & 0x0f == MessageKind::Text.opcode() as u8) {
        true => MessageKind::Text,
        false => MessageKind::Binary,
    }
}

/// The end of each frame.
pub(crate) fn ends(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let mut end = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(end..).filter(|rest| !rest.is_empty())?;
        end += frame_bytes(rest);
        Some(end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_frames_of_every_header_form_are_found() {
        let mut run = Vec::new();
        let mut expected = Vec::new();
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let before = run.len();
            append(&mut run, MessageKind::Binary, &vec![7; length]);
            assert_eq!(run.len() - before, framed_bytes(length));
            assert_eq!(payload_bytes(&run[before..]), length);
            assert_eq!(kind(&run[before..]), MessageKind::Binary);
            expected.push(run.len());
        }
        assert_eq!(ends(&run).collect::<Vec<_>>(), expected);
        assert_eq!(ends(&run[..run.len() - 9]).last(), Some(run.len() - 9), "a cut frame");
        assert_eq!(ends(&[0x82]).collect::<Vec<_>>(), [1]);
        assert_eq!(ends(&[]).count(), 0);
    }
}
