//! On how many connections which subprotocol was agreed (RFC 6455 section 1.9). Nothing is known
//! here of what they mean.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::output::grouped;

/// What servers chose of the subprotocols that were offered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Subprotocols {
    /// Connections by the name that was chosen.
    agreed: BTreeMap<String, u64>,
    /// Connections on which none was.
    none: u64,
}

impl Subprotocols {
    /// Adds a connection with what was chosen.
    pub(crate) fn note(&mut self, chosen: Option<&str>) {
        match chosen {
            Some(name) => *self.agreed.entry(name.to_owned()).or_default() += 1,
            None => self.none += 1,
        }
    }

    /// Adds all of another.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (name, connections) in &other.agreed {
            *self.agreed.entry(name.clone()).or_default() += connections;
        }
        self.none += other.none;
    }

    /// Whether there are no connections at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.none == 0 && self.agreed.is_empty()
    }

    /// Connections on which none was agreed.
    pub(crate) fn none(&self) -> u64 {
        self.none
    }

    /// The line on them.
    pub(crate) fn line(&self) -> String {
        let agreed = self.agreed.iter().map(|(name, &connections)| (name.as_str(), connections));
        let none = (self.none > 0).then_some(("none", self.none));
        let told = agreed.chain(none).map(|(name, connections)| {
            format!("{name} on {} connections", grouped(connections as f64))
        });
        format!("protocol  {}\n", told.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_by_what_was_chosen() {
        let (mut all, mut part) = (Subprotocols::default(), Subprotocols::default());
        assert!(all.is_empty());
        all.note(Some("v2"));
        [Some("v2"), Some("v1"), None].into_iter().for_each(|chosen| part.note(chosen));
        all.merge(&part);
        assert!(!all.is_empty());
        assert_eq!(all.none(), 1);
        let told = "protocol  v1 on 1 connections, v2 on 2 connections, none on 1 connections\n";
        assert_eq!(all.line(), told);
        let json = serde_json::to_value(&all).unwrap();
        assert_eq!(json, serde_json::json!({ "agreed": { "v1": 1, "v2": 2 }, "none": 1 }));
    }
}
