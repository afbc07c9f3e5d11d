//! What a pattern may look like. Finding the patterns that match a name is elsewhere.

use std::fmt;

/// One level of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level<'a> {
    /// This very word.
    Word(&'a str),
    /// `*`: any one level.
    Any,
    /// `**`: all further levels, if any.
    Rest,
}

/// The levels of a pattern.
pub(super) fn levels(pattern: &str) -> impl Iterator<Item = Level<'_>> {
    pattern.split('/').map(|word| match word {
        "*" => Level::Any,
        "**" => Level::Rest,
        word => Level::Word(word),
    })
}

/// Whether `name` matches `pattern`.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let mut words = name.split('/');
    for level in levels(pattern) {
        match (level, words.next()) {
            (Level::Rest, _) => return true,
            (Level::Any, Some(_)) => {}
            (Level::Word(wanted), Some(word)) if wanted == word => {}
            _ => return false,
        }
    }
    words.next().is_none()
}

/// Why a connection was not subscribed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeError {
    /// The connection is closing: it will receive nothing more.
    Closing,
    /// The name is longer than [`Limits::topic_bytes_max`](crate::Limits).
    NameTooLong,
    /// The connection has [`Limits::subscriptions_max`](crate::Limits) already.
    TooMany,
    /// The pattern has more levels than [`Limits::topic_levels_max`](crate::Limits).
    TooDeep,
    /// The server has [`Limits::patterns_max`](crate::Limits) different patterns already.
    TooManyPatterns,
    /// The topic is to have a history, and [`Limits::histories_max`](crate::Limits) others that
    /// have one have subscribers, too.
    TooManyHistories,
    /// `**` stands for the rest of a name, so it can only be the last level of a pattern.
    RestNotLast,
}

impl fmt::Display for SubscribeError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Closing => "the connection is closing",
            Self::NameTooLong => "the topic's name is too long: see Limits::topic_bytes_max",
            Self::TooMany => {
                "the connection has too many subscriptions: see Limits::subscriptions_max"
            }
            Self::TooDeep => "the pattern has too many levels: see Limits::topic_levels_max",
            Self::TooManyPatterns => "there are too many patterns: see Limits::patterns_max",
            Self::TooManyHistories => {
                "too many topics with a history have subscribers: see Limits::histories_max"
            }
            Self::RestNotLast => "** may only be the last level of a pattern",
        })
    }
}

impl std::error::Error for SubscribeError {}

/// Whether a pattern can be subscribed to.
///
/// # Errors
/// [`SubscribeError::TooDeep`], [`SubscribeError::RestNotLast`].
pub(super) fn check(pattern: &str, levels_max: usize) -> Result<(), SubscribeError> {
    let count = pattern.split('/').count();
    if count > levels_max {
        return Err(SubscribeError::TooDeep);
    }
    let rest = levels(pattern).position(|level| level == Level::Rest);
    match rest {
        Some(position) if position + 1 < count => Err(SubscribeError::RestNotLast),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_one_level_and_two_for_the_rest() {
        for (pattern, name, expected) in [
            ("a/b", "a/b", true),
            ("a/b", "a/c", false),
            ("a/*", "a/b", true),
            ("a/*", "a", false),
            ("a/*", "a/b/c", false),
            ("a/*", "a/", true),
            ("*/b", "a/b", true),
            ("a/**", "a", true),
            ("a/**", "a/b/c", true),
            ("a/**", "b", false),
            ("**", "anything/at/all", true),
            ("*", "", true),
            ("a*", "ab", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} on {name}");
        }
    }

    #[test]
    fn patterns_are_checked() {
        assert_eq!(check("a/*/**", 3), Ok(()));
        assert_eq!(check("a/b/c/d", 3), Err(SubscribeError::TooDeep));
        assert_eq!(check("a/**/b", 3), Err(SubscribeError::RestNotLast));
    }
}
