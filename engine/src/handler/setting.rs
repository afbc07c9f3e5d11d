//! A text that was to be a setting and is none. What is read from it is elsewhere.

use std::fmt;

/// Says which text is wrong and what it should look like, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadSetting(String);

impl BadSetting {
    pub(crate) fn new(reason: String) -> Self {
        Self(reason)
    }
}

impl fmt::Display for BadSetting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for BadSetting {}
