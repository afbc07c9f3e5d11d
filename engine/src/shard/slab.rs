//! Connections by number. Slots are grouped in chunks that never move, so that growth copies
//! nothing and leaves no halved allocations behind; each slot carries the generation that its
//! next connection will be named by.

use crate::driver::GENERATION_MASK;
use crate::handler::Token;

/// Bytes of one chunk, less than a slot short of it: a size that allocators hand out without
/// rounding up.
const CHUNK_BYTES: usize = 40 * 1024;

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

/// Values by [`Token`].
#[derive(Debug)]
pub(super) struct Slab<T> {
    chunks: Vec<Box<[Slot<T>]>>,
    free: Vec<u32>,
    length: usize,
}

impl<T> Slab<T> {
    /// Slots of one chunk.
    const CHUNK: usize = CHUNK_BYTES / size_of::<Slot<T>>();

    pub(super) fn new() -> Self {
        Self { chunks: Vec::new(), free: Vec::new(), length: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Takes a value in. The slot freed last is used first: it is still in the cache.
    pub(super) fn insert(&mut self, value: T) -> Token {
        if self.free.is_empty() {
            let first = (self.chunks.len() * Self::CHUNK) as u32;
            let empty = || Slot { generation: 1, value: None };
            self.chunks.push(std::iter::repeat_with(empty).take(Self::CHUNK).collect());
            self.free.extend((first..first + Self::CHUNK as u32).rev());
        }
        let slot = self.free.pop().unwrap_or_default();
        let place = &mut self.chunks[slot as usize / Self::CHUNK][slot as usize % Self::CHUNK];
        place.value = Some(value);
        self.length += 1;
        Token { slot, generation: place.generation }
    }

    fn slot_mut(&mut self, token: Token) -> Option<&mut Slot<T>> {
        let chunk = self.chunks.get_mut(token.slot as usize / Self::CHUNK)?;
        let slot = &mut chunk[token.slot as usize % Self::CHUNK];
        (slot.generation == token.generation).then_some(slot)
    }

    /// The value, unless it has gone.
    pub(super) fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        self.slot_mut(token)?.value.as_mut()
    }

    /// The value now in a slot, whichever it is, without reading it.
    pub(super) fn peek(&self, token: Token) -> Option<&impl Sized> {
        let chunk = self.chunks.get(token.slot as usize / Self::CHUNK)?;
        Some(&chunk[token.slot as usize % Self::CHUNK])
    }

    /// The value now in a slot, whichever it is.
    pub(super) fn at_mut(&mut self, slot: u32) -> Option<(Token, &mut T)> {
        let chunk = self.chunks.get_mut(slot as usize / Self::CHUNK)?;
        let place = &mut chunk[slot as usize % Self::CHUNK];
        let token = Token { slot, generation: place.generation };
        Some((token, place.value.as_mut()?))
    }

    /// Takes a value out; its token names nothing from now on.
    pub(super) fn remove(&mut self, token: Token) -> Option<T> {
        let slot = self.slot_mut(token)?;
        let value = slot.value.take()?;
        // Zero is skipped: no connection has it.
        slot.generation = ((slot.generation + 1) & GENERATION_MASK).max(1);
        self.free.push(token.slot);
        self.length -= 1;
        Some(value)
    }

    /// The tokens of all values.
    pub(super) fn tokens(&self) -> Vec<Token> {
        let slots = self.chunks.iter().flatten().enumerate();
        slots
            .filter(|(_, place)| place.value.is_some())
            .map(|(slot, place)| Token { slot: slot as u32, generation: place.generation })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removed_value_is_not_found_by_its_old_token() {
        let mut slab = Slab::new();
        let first = slab.insert('a');
        assert_eq!(slab.get_mut(first), Some(&mut 'a'));
        assert_eq!(slab.remove(first), Some('a'));
        let second = slab.insert('b');
        assert_eq!(second.slot, first.slot);
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get_mut(second), Some(&mut 'b'));
        assert_eq!(slab.at_mut(second.slot), Some((second, &mut 'b')));
    }

    #[test]
    fn generations_wrap_without_becoming_zero() {
        let mut slab = Slab::new();
        let token = slab.insert(0);
        slab.chunks[0][token.slot as usize].generation = GENERATION_MASK;
        let last = Token { slot: token.slot, generation: GENERATION_MASK };
        assert_eq!(slab.remove(last), Some(0));
        assert_eq!(slab.insert(1).generation, 1);
    }

    #[test]
    fn it_grows_by_chunks_and_lists_what_it_holds() {
        let mut slab = Slab::new();
        let tokens: Vec<_> = (0..9000).map(|number| slab.insert(number)).collect();
        assert_eq!(slab.len(), 9000);
        assert!(slab.chunks.len() > 1);
        assert_eq!(slab.tokens(), tokens);
    }
}
