//! What a pattern may look like. Finding the patterns that match a name is elsewhere.

use super::subscribe::SubscribeError;

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

/// Whether `name` matches `pattern`. Every publish asks this of the rules for topics, so words are
/// told apart byte by byte: they are short, and a `/` is never a part of another character.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let (mut pattern, mut name) = (Some(pattern.as_bytes()), Some(name.as_bytes()));
    while let Some(levels) = pattern {
        let (level, further) = cut(levels);
        if level == b"**" {
            return true;
        }
        let Some(words) = name else { return false };
        let (word, rest) = cut(words);
        if level != b"*" && level != word {
            return false;
        }
        (pattern, name) = (further, rest);
    }
    name.is_none()
}

/// The first level, and those behind it if there are any.
fn cut(levels: &[u8]) -> (&[u8], Option<&[u8]>) {
    match levels.iter().position(|&byte| byte == b'/') {
        Some(end) => (&levels[..end], Some(&levels[end + 1..])),
        None => (levels, None),
    }
}

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

    /// The same level by level.
    fn matches_by_levels(pattern: &str, name: &str) -> bool {
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

    #[test]
    fn every_short_pattern_matches_what_it_matches_level_by_level() {
        let mut texts = vec![String::new()];
        for _ in 0..5 {
            let longer =
                texts.iter().flat_map(|text| ['a', '*', '/'].map(|next| format!("{text}{next}")));
            let longer: Vec<String> = longer.collect();
            texts.extend(longer);
            texts.sort_unstable();
            texts.dedup();
        }
        assert_eq!(texts.len(), 364);
        for pattern in &texts {
            for name in &texts {
                let expected = matches_by_levels(pattern, name);
                assert_eq!(matches(pattern, name), expected, "{pattern} on {name}");
            }
        }
    }

    #[test]
    fn patterns_are_checked() {
        assert_eq!(check("a/*/**", 3), Ok(()));
        assert_eq!(check("a/b/c/d", 3), Err(SubscribeError::TooDeep));
        assert_eq!(check("a/**/b", 3), Err(SubscribeError::RestNotLast));
    }
}
