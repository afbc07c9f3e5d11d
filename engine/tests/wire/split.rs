//! Cuts what a row sends into segments, in every way the row asks for. Nothing here sends them.

use crate::compose::Act;
use crate::row::SplitName;
use crate::subject::Effort;

/// Inputs up to this length are cut at every place unless the row says otherwise.
const SHORT_BYTES_MAX: usize = 200;
/// Inputs up to this length are also sent bytewise where that costs nothing.
const BYTEWISE_BYTES_MAX: usize = 20 * 1024;
/// A prime, so that segments and frames never stay aligned.
const CHUNK_BYTES: usize = 61;

/// One way of sending a row: each `Act::Send` is one segment.
pub(crate) struct Plan {
    /// How it was cut, for messages.
    pub(crate) label: String,
    /// What to do, in order.
    pub(crate) acts: Vec<Act>,
    /// Whether the server should see each segment before the next one is sent.
    pub(crate) settle: bool,
}

/// The plans for `acts`, split as `names` say or, when there are none, by length.
pub(crate) fn plans(acts: &[Act], names: &[SplitName], effort: Effort) -> Vec<Plan> {
    let bytes: usize = acts.iter().map(sent_bytes).sum();
    let names = if names.is_empty() { usual(bytes, effort) } else { names };
    names.iter().flat_map(|name| named(acts, *name, bytes, effort)).collect()
}

fn usual(bytes: usize, effort: Effort) -> &'static [SplitName] {
    use SplitName::{Bytewise, Chunks, EveryCut, Whole};
    match bytes {
        0 => &[Whole],
        1..=SHORT_BYTES_MAX => &[Whole, Bytewise, EveryCut],
        _ if bytes <= BYTEWISE_BYTES_MAX && effort == Effort::All => &[Whole, Bytewise, Chunks],
        _ => &[Whole, Chunks],
    }
}

fn named(acts: &[Act], name: SplitName, bytes: usize, effort: Effort) -> Vec<Plan> {
    let cuts = || places(bytes, effort).into_iter();
    let plan = |label: String, acts, settle| Plan { label, acts, settle };
    match name {
        SplitName::Whole => vec![plan("whole".to_owned(), acts.to_vec(), false)],
        SplitName::Bytewise => {
            vec![plan("bytewise".to_owned(), segmented(acts, |_| true), false)]
        }
        SplitName::Chunks => {
            let label = format!("chunks of {CHUNK_BYTES}");
            vec![plan(label, segmented(acts, |at| at % CHUNK_BYTES == 0), false)]
        }
        SplitName::EveryCut => cuts()
            .map(|cut| plan(format!("cut after {cut}"), segmented(acts, |at| at == cut), true))
            .collect(),
        SplitName::Prefixes => {
            cuts().map(|cut| plan(format!("only {cut} bytes"), prefix(acts, cut), false)).collect()
        }
    }
}

/// The places at which an input of `bytes` is cut: all, or a few that are spread over it.
fn places(bytes: usize, effort: Effort) -> Vec<usize> {
    let mut places: Vec<usize> = match effort {
        Effort::All => (1..bytes).collect(),
        Effort::Few => vec![1, 2, 6, bytes / 2, bytes.saturating_sub(1)],
    };
    places.retain(|place| (1..bytes).contains(place));
    places.sort_unstable();
    places.dedup();
    places
}

fn sent_bytes(act: &Act) -> usize {
    if let Act::Send(bytes) = act { bytes.len() } else { 0 }
}

/// `acts` with every send cut wherever `is_cut` says so of the bytes sent until there.
fn segmented(acts: &[Act], is_cut: impl Fn(usize) -> bool) -> Vec<Act> {
    let mut result = Vec::new();
    let mut sent = 0;
    for act in acts {
        let Act::Send(bytes) = act else {
            result.push(act.clone());
            continue;
        };
        let mut start = 0;
        for at in 1..=bytes.len() {
            if at == bytes.len() || is_cut(sent + at) {
                result.push(Act::Send(bytes[start..at].to_vec()));
                start = at;
            }
        }
        sent += bytes.len();
    }
    result
}

/// The first `bytes_max` bytes of what `acts` send, then FIN.
fn prefix(acts: &[Act], bytes_max: usize) -> Vec<Act> {
    let mut left = bytes_max;
    let mut result = Vec::new();
    for act in acts {
        if let Act::Send(bytes) = act {
            let taken = left.min(bytes.len());
            result.push(Act::Send(bytes[..taken].to_vec()));
            left -= taken;
        }
    }
    result.push(Act::FinishSending);
    result
}

#[test]
fn every_split_sends_the_same_bytes() {
    let acts = [Act::Send(b"abc".to_vec()), Act::FinishSending, Act::Send(b"defg".to_vec())];
    let joined = |plan: &Plan| -> Vec<u8> {
        let pieces = plan.acts.iter().filter_map(|act| match act {
            Act::Send(bytes) => Some(bytes.clone()),
            _ => None,
        });
        pieces.flatten().collect()
    };
    let plans = plans(&acts, &[], Effort::All);
    assert_eq!(plans.len(), 8, "whole, bytewise and six cuts");
    assert!(plans.iter().all(|plan| joined(plan) == b"abcdefg"));
    assert_eq!(plans[1].acts.len(), 8, "seven bytes and the end of the stream between them");
    let prefixes = super::split::plans(&acts, &[SplitName::Prefixes], Effort::All);
    let sent: Vec<_> = prefixes.iter().map(joined).collect();
    assert_eq!(sent.first().unwrap(), b"a");
    assert_eq!(sent.last().unwrap(), b"abcdef");
}
