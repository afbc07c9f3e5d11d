//! What people have found out about a record's misses, in words of their own, beside it.
//!
//! Nothing is found out here. The text is read and never written, so drawing a record again keeps it.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::Result;

/// In the folder of the record: Markdown, with headings of four signs if it has any.
const FILE: &str = "findings.md";

/// The text, if anybody has written one.
pub(crate) fn read(folder: &Path) -> Result<Option<String>> {
    match fs::read_to_string(folder.join(FILE)) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", folder.join(FILE).display()).into()),
    }
}

/// Asks for the text, where targets were missed and there is none.
pub(crate) fn wanted(missed: usize, folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "{missed} targets were missed. Say in {folder}/{FILE} what a profile says about each, and draw it again: \
         scripts/bench --from {folder}/suite.json\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_findings_or_none() {
        let folder = std::env::temp_dir().join(format!("ringsock-findings-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        assert_eq!(read(&folder).unwrap(), None);
        fs::write(folder.join(FILE), "\n").unwrap();
        assert_eq!(read(&folder).unwrap(), None);
        fs::write(folder.join(FILE), "It was the cache.\n").unwrap();
        let found = read(&folder).unwrap();
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(found.as_deref(), Some("It was the cache."));
    }
}
