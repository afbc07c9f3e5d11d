//! The patterns that somebody is subscribed to, by level, so that those matching a name are found
//! without trying all. It does not count subscribers.

use std::collections::HashMap;

use super::pattern::{Level, levels};

type Number = u32;
const ROOT: Number = 0;

/// Patterns, each with a value.
#[derive(Debug)]
pub(super) struct Trie<T> {
    nodes: Vec<Node<T>>,
    free: Vec<Number>,
    length: usize,
}

#[derive(Debug)]
struct Node<T> {
    words: HashMap<Box<str>, Number>,
    any: Option<Number>,
    /// The pattern that ends here with `**`.
    rest: Option<T>,
    /// The pattern that ends here.
    here: Option<T>,
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self { words: HashMap::new(), any: None, rest: None, here: None }
    }
}

impl<T> Node<T> {
    fn is_empty(&self) -> bool {
        self.words.is_empty() && self.any.is_none() && self.rest.is_none() && self.here.is_none()
    }
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        Self { nodes: vec![Node::default()], free: Vec::new(), length: 0 }
    }
}

impl<T> Trie<T> {
    /// How many patterns.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    fn new_node(&mut self) -> Number {
        self.free.pop().unwrap_or_else(|| {
            self.nodes.push(Node::default());
            self.nodes.len() as Number - 1
        })
    }

    /// The place of a pattern's value, made if need be.
    fn place(&mut self, pattern: &str) -> &mut Option<T> {
        let mut at = ROOT;
        for level in levels(pattern) {
            let node = &self.nodes[at as usize];
            let known = match level {
                Level::Word(word) => node.words.get(word).copied(),
                Level::Any => node.any,
                Level::Rest => break,
            };
            at = known.unwrap_or_else(|| {
                let made = self.new_node();
                let node = &mut self.nodes[at as usize];
                match level {
                    Level::Word(word) => _ = node.words.insert(word.into(), made),
                    Level::Any | Level::Rest => node.any = Some(made),
                }
                made
            });
        }
        let node = &mut self.nodes[at as usize];
        let ends_with_rest = levels(pattern).last() == Some(Level::Rest);
        if ends_with_rest { &mut node.rest } else { &mut node.here }
    }

    /// A pattern's value, if it is there.
    pub(super) fn get(&self, pattern: &str) -> Option<&T> {
        let mut node = &self.nodes[ROOT as usize];
        for level in levels(pattern) {
            let next = match level {
                Level::Word(word) => node.words.get(word).copied()?,
                Level::Any => node.any?,
                Level::Rest => return node.rest.as_ref(),
            };
            node = &self.nodes[next as usize];
        }
        node.here.as_ref()
    }

    /// Puts a pattern in, or changes its value.
    pub(super) fn insert(&mut self, pattern: &str, value: T) {
        let place = self.place(pattern);
        let is_new = place.replace(value).is_none();
        self.length += usize::from(is_new);
    }

    /// Takes a pattern out and frees the nodes that only it needed.
    pub(super) fn remove(&mut self, pattern: &str) {
        if self.place(pattern).take().is_some() {
            self.length -= 1;
        }
        let mut path = vec![ROOT];
        for level in levels(pattern) {
            let node = &self.nodes[path[path.len() - 1] as usize];
            let next = match level {
                Level::Word(word) => node.words.get(word).copied(),
                Level::Any => node.any,
                Level::Rest => None,
            };
            let Some(next) = next else { break };
            path.push(next);
        }
        let mut trail: Vec<Level<'_>> = levels(pattern).collect();
        trail.truncate(path.len() - 1);
        while let (Some(number), Some(level)) = (path.pop(), trail.pop()) {
            if !self.nodes[number as usize].is_empty() {
                break;
            }
            self.free.push(number);
            let parent = &mut self.nodes[path[path.len() - 1] as usize];
            match level {
                Level::Word(word) => _ = parent.words.remove(word),
                Level::Any | Level::Rest => parent.any = None,
            }
        }
    }

    /// Calls `found` for the value of each pattern that matches a name. At most as many nodes are
    /// looked at as there are, and at most two for each level of each way to match.
    pub(super) fn matching(&self, name: &str, found: &mut impl FnMut(&T)) {
        self.walk(ROOT, Some(name), found);
    }

    fn walk(&self, at: Number, rest: Option<&str>, found: &mut impl FnMut(&T)) {
        let node = &self.nodes[at as usize];
        node.rest.iter().for_each(&mut *found);
        let Some(rest) = rest else {
            node.here.iter().for_each(&mut *found);
            return;
        };
        let (word, rest) = match rest.split_once('/') {
            Some((word, rest)) => (word, Some(rest)),
            None => (rest, None),
        };
        let named = node.words.get(word).copied();
        for next in [named, node.any].into_iter().flatten() {
            self.walk(next, rest, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pubsub::pattern::{check, matches};

    #[test]
    fn it_finds_what_trying_every_pattern_finds_and_shrinks_to_nothing() {
        let words = ["a", "b", "*", "**"];
        let mut patterns = Vec::new();
        for first in words {
            patterns.push(first.to_owned());
            for second in words {
                patterns.push(format!("{first}/{second}"));
                for third in words {
                    patterns.push(format!("{first}/{second}/{third}"));
                }
            }
        }
        patterns.retain(|pattern| check(pattern, 3).is_ok());
        let names = ["", "a", "b", "c", "a/b", "b/a", "c/c", "a/b/a", "b/c/b", "a/a/a/a", "c/"];
        let mut trie = Trie::default();
        // Taken in one by one, then out in another order, compared after each step.
        let (mut inside, steps): (Vec<String>, _) = (Vec::new(), patterns.len() * 2);
        for step in 0..steps {
            if step < patterns.len() {
                let pattern = &patterns[step * 7 % patterns.len()];
                trie.insert(pattern, pattern.clone());
                if !inside.contains(pattern) {
                    inside.push(pattern.clone());
                }
            } else if !inside.is_empty() {
                let gone = inside.swap_remove(step * 5 % inside.len());
                trie.remove(&gone);
                assert!(trie.get(&gone).is_none());
            }
            assert_eq!(trie.len(), inside.len());
            for name in names {
                let mut found = Vec::new();
                trie.matching(name, &mut |pattern: &String| found.push(pattern.clone()));
                let mut expected: Vec<_> =
                    inside.iter().filter(|pattern| matches(pattern, name)).cloned().collect();
                found.sort_unstable();
                expected.sort_unstable();
                assert_eq!(found, expected, "step {step}, name {name:?}");
            }
        }
        for pattern in inside {
            trie.remove(&pattern);
        }
        assert_eq!(trie.nodes.len(), trie.free.len() + 1, "only the root is left");
    }
}
