//! A list of segments that holds a single one without memory of its own, because there are seldom
//! more. It counts no bytes.

use std::collections::VecDeque;

use bytes::Bytes;

use super::Segment;

/// Segments in their order.
///
/// Invariant: `single` is there only while `several` is empty.
#[derive(Debug, Default)]
pub(super) struct Segments {
    single: Option<Segment>,
    several: VecDeque<Segment>,
}

impl Segments {
    #[inline]
    pub(super) fn len(&self) -> usize {
        usize::from(self.single.is_some()) + self.several.len()
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Segment> {
        self.single.iter().chain(&self.several)
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Segment> {
        match &mut self.single {
            Some(single) => (index == 0).then_some(single),
            None => self.several.get_mut(index),
        }
    }

    #[inline]
    pub(super) fn push_back(&mut self, segment: Segment) {
        if self.several.is_empty() {
            let Some(single) = self.single.take() else {
                self.single = Some(segment);
                return;
            };
            self.several.push_back(single);
        }
        self.several.push_back(segment);
    }

    #[inline]
    pub(super) fn pop_front(&mut self) -> Option<Segment> {
        self.single.take().or_else(|| self.several.pop_front())
    }

    /// Takes the last one out if it is a shared run of at most so many bytes.
    pub(super) fn pop_shared(&mut self, bytes_max: usize) -> Option<Bytes> {
        let last = self.single.as_ref().or_else(|| self.several.back())?;
        let Segment::Shared(bytes) = last else { return None };
        let bytes = (bytes.len() <= bytes_max).then(|| bytes.clone())?;
        if self.single.take().is_none() {
            self.several.pop_back();
        }
        Some(bytes)
    }

    /// All of them, and one before if there is one.
    pub(super) fn into_vec(mut self, before: Option<Segment>) -> Vec<Segment> {
        if let Some(single) = self.single {
            self.several.push_back(single);
        }
        if let Some(before) = before {
            self.several.push_front(before);
        }
        self.several.into()
    }

    /// Removes those that are empty.
    pub(super) fn compact(&mut self) {
        self.single.take_if(|segment| segment.is_empty());
        self.several.retain(|segment| !segment.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(number: usize) -> Segment {
        Segment::Owned { bytes: vec![7; number], start: 0 }
    }

    fn lengths<'a>(segments: impl Iterator<Item = &'a Segment>) -> Vec<usize> {
        segments.map(Segment::len).collect()
    }

    #[test]
    fn it_does_what_a_plain_list_does() {
        let (mut segments, mut list) = (Segments::default(), Vec::new());
        let mut random = 1u64;
        for step in 0..5_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            match (random >> 33) % 8 {
                0..4 => {
                    segments.push_back(segment(step % 50));
                    list.push(step % 50);
                }
                4..6 => {
                    let oldest = (!list.is_empty()).then(|| list.remove(0));
                    assert_eq!(segments.pop_front().map(|segment| segment.len()), oldest);
                }
                6 => {
                    let index = (random >> 40) as usize % (list.len() + 1);
                    let place = segments.get_mut(index);
                    assert_eq!(place.is_some(), index < list.len());
                    if let Some(place) = place {
                        *place = Segment::EMPTY;
                        list[index] = 0;
                    }
                }
                _ if random >> 60 < 8 => {
                    segments.compact();
                    list.retain(|&length| length > 0);
                }
                _ => {
                    let before = (random >> 60 < 12).then(|| segment(99));
                    list.splice(0..0, before.iter().map(Segment::len));
                    let all = std::mem::take(&mut segments).into_vec(before);
                    assert_eq!(lengths(all.iter()), std::mem::take(&mut list));
                }
            }
            assert_eq!(lengths(segments.iter()), list, "step {step}");
            assert_eq!((segments.len(), segments.is_empty()), (list.len(), list.is_empty()));
        }
    }
}
