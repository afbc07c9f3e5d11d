//! Reads the file: TOML, whose every key must be known. It names the line of whatever is wrong with
//! it, and does not look at what values mean.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::settings::{Mount, Origin, Settings, keys};

/// What an `[[app]]` may say.
const APP_KEYS: [&str; 2] = ["kind", "path"];

/// A file being read.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

/// Takes what the file says.
pub(super) fn read(settings: &mut Settings, path: &Path) -> Result<(), String> {
    let failed = |error| format!("{}: {error}; give a file that can be read", path.display());
    let text = std::fs::read_to_string(path).map_err(failed)?;
    read_text(settings, path, &text)
}

fn read_text(settings: &mut Settings, path: &Path, text: &str) -> Result<(), String> {
    let source = Source { path, text };
    let table = DeTable::parse(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        source.wrong(offset, error.message())
    })?;
    settings.file = Some(path.to_owned());
    for (section, value) in table.get_ref() {
        let (name, offset) = (section.get_ref().as_ref(), section.span().start);
        match value.get_ref() {
            DeValue::Array(apps) if name == "app" => {
                for app in apps.iter() {
                    settings.mounts.push(source.mount(app)?);
                }
            }
            DeValue::Table(section) => source.section(settings, name, section)?,
            _ => return Err(source.wrong(offset, &unknown_section(name))),
        }
    }
    Ok(())
}

fn unknown_section(name: &str) -> String {
    let known: Vec<String> = sections();
    let nearest = known.iter().min_by_key(|known| strsim::damerau_levenshtein(known, name));
    let nearest = nearest.map_or("", String::as_str);
    let form = if nearest == "app" { "[[app]]" } else { &format!("[{nearest}]") };
    format!("there is no '{name}' here; the nearest is the section {form}")
}

fn sections() -> Vec<String> {
    let mut sections = vec!["app".to_owned()];
    for (key, _) in keys() {
        let (section, _) = key.split_once('.').unwrap_or_default();
        if !sections.iter().any(|known| known == section) {
            sections.push(section.to_owned());
        }
    }
    sections
}

impl Source<'_> {
    fn line(&self, offset: usize) -> usize {
        let before = self.text.get(..offset).unwrap_or(self.text);
        1 + before.bytes().filter(|&byte| byte == b'\n').count()
    }

    /// The text of an error: one line.
    fn wrong(&self, offset: usize, reason: &str) -> String {
        let reason = reason.lines().collect::<Vec<_>>().join(", ");
        format!("{}:{}: {reason}", self.path.display(), self.line(offset))
    }

    fn section(
        &self,
        settings: &mut Settings,
        section: &str,
        table: &DeTable<'_>,
    ) -> Result<(), String> {
        if !sections().iter().any(|known| known == section) {
            let offset = table.keys().next().map_or(0, |key| key.span().start);
            return Err(self.wrong(offset, &unknown_section(section)));
        }
        for (key, value) in table {
            let origin = Origin::File(self.path.to_owned(), self.line(key.span().start));
            let values = self.values(value)?;
            settings.set(&format!("{section}.{}", key.get_ref()), values, origin)?;
        }
        Ok(())
    }

    fn values(&self, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, String> {
        match value.get_ref() {
            DeValue::Array(values) => {
                values.iter().map(|value| self.scalar(value)).collect::<Result<_, _>>()
            }
            _ => Ok(vec![self.scalar(value)?]),
        }
    }

    fn scalar(&self, value: &Spanned<DeValue<'_>>) -> Result<String, String> {
        match value.get_ref() {
            DeValue::String(text) => Ok(text.to_string()),
            DeValue::Integer(number) => Ok(number.to_string()),
            DeValue::Float(number) => Ok(number.to_string()),
            DeValue::Boolean(yes) => Ok(yes.to_string()),
            _ => Err(self.wrong(value.span().start, "a text or a number is expected here")),
        }
    }

    fn mount(&self, app: &Spanned<DeValue<'_>>) -> Result<Mount, String> {
        let offset = app.span().start;
        let DeValue::Table(table) = app.get_ref() else {
            return Err(self.wrong(offset, "an application is a table: begin it with [[app]]"));
        };
        for key in table.keys() {
            if !APP_KEYS.contains(&key.get_ref().as_ref()) {
                let reason = format!("an [[app]] has no '{}': it has kind and path", key.get_ref());
                return Err(self.wrong(key.span().start, &reason));
            }
        }
        let text = |name: &str| match table.get(name) {
            Some(value) => self.scalar(value),
            None => Err(self.wrong(offset, &format!("this [[app]] has no {name}"))),
        };
        Ok(Mount { kind: text("kind")?, path: text("path")?, line: self.line(offset) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> Result<Settings, String> {
        let mut settings = Settings::default();
        read_text(&mut settings, Path::new("r.toml"), text)?;
        Ok(settings)
    }

    #[test]
    fn values_of_every_form_are_read_with_their_lines() {
        let read = settings(
            "[server]\nlisten = [\"127.0.0.1:1\", \"127.0.0.1:2\"]\n\n[limits]\n\
             message_bytes_max = \"4MiB\"\nheader_lines_max = 50\n\n\
             [[app]]\nkind = \"echo\"\npath = \"/echo\"\n",
        );
        let read = read.unwrap();
        assert_eq!(read.get("server.listen").unwrap().values.len(), 2);
        assert_eq!(read.get("limits.header_lines_max").unwrap().values, ["50"]);
        let origin = &read.get("limits.message_bytes_max").unwrap().origin;
        assert_eq!(origin.to_string(), "r.toml:5");
        let mount = Mount { kind: "echo".into(), path: "/echo".into(), line: 8 };
        assert_eq!(read.mounts, [mount]);
    }

    #[test]
    fn a_damaged_file_is_an_error_of_one_line_or_still_good() {
        let example = include_str!("../../ringsock.toml");
        let mut random = 7_u64;
        let mut next = |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) as usize % below
        };
        let (mut good, mut bad) = (0, 0);
        for _ in 0..3_000 {
            let mut text = example.as_bytes().to_vec();
            for _ in 0..=next(3) {
                let place = next(text.len());
                match next(4) {
                    0 => text[place] = b"[]{}=\"\\\n#.,'\xff"[next(13)],
                    1 => drop(text.remove(place)),
                    2 => text.truncate(place.max(10)),
                    _ => text.insert(place, b"[]{}=\"\\\n#.,'\xc3"[next(13)]),
                }
            }
            match settings(&String::from_utf8_lossy(&text)) {
                Ok(_) => good += 1,
                Err(error) => {
                    assert!(error.starts_with("r.toml:") && !error.contains('\n'), "{error}");
                    bad += 1;
                }
            }
        }
        assert!(good > 100 && bad > 100, "{good} good, {bad} bad");
    }

    #[test]
    fn whatever_is_wrong_is_named_with_its_line_and_what_was_probably_meant() {
        for (text, line, named) in [
            ("[limits]\nmesage_bytes_max = 1\n", 2, "'limits.message_bytes_max'"),
            ("\n[limit]\nping_interval = \"1s\"\n", 3, "[limits]"),
            ("listen = \"127.0.0.1:1\"\n", 1, "'listen'"),
            ("[server]\ncores = [\"0\", \"1\"]\n", 2, "one value"),
            ("[server]\nlisten = { a = 1 }\n", 2, "a text or a number"),
            ("[server\n", 1, "]"),
            ("[[app]]\nkind = \"echo\"\n", 1, "no path"),
            ("[[app]]\nkind = \"echo\"\npaht = \"/\"\n", 3, "'paht'"),
            ("[apps]\nkind = \"echo\"\n", 2, "[[app]]"),
            ("[server]\ncores = \"0\"\ncores = \"1\"\n", 3, "duplicate"),
        ] {
            let error = settings(text).unwrap_err();
            assert!(error.starts_with(&format!("r.toml:{line}: ")), "{text}: {error}");
            assert!(error.contains(named) && !error.contains('\n'), "{text}: {error}");
        }
    }
}
