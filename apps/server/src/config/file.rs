//! Reads the file: TOML, whose every key must be known. It names the line of whatever is wrong with
//! it, and does not look at what values mean.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::settings::{
    Form, Origin, Setting, Settings, Table, TableForm, keys, table_form, table_names,
};

/// A file being read.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

/// Takes what the text of a file says.
pub(super) fn read(settings: &mut Settings, path: &Path, text: &str) -> Result<(), String> {
    let source = Source { path, text };
    let table = DeTable::parse(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        source.wrong(offset, error.message())
    })?;
    settings.file = Some(path.to_owned());
    for (section, value) in table.get_ref() {
        let (name, offset) = (section.get_ref().as_ref(), section.span().start);
        match (value.get_ref(), table_form(name)) {
            (DeValue::Array(tables), Some(form)) => source.tables(settings, form, tables)?,
            (DeValue::Table(section), None) => source.section(settings, name, section)?,
            (DeValue::Table(_), Some(_)) => return Err(source.wrong(offset, &brackets(name))),
            _ => return Err(source.wrong(offset, &unknown_section(name))),
        }
    }
    Ok(())
}

fn unknown_section(name: &str) -> String {
    let known: Vec<String> = sections();
    let nearest = known.iter().min_by_key(|known| strsim::damerau_levenshtein(known, name));
    let nearest = nearest.map_or("", String::as_str);
    match table_form(nearest) {
        Some(_) => format!("there is no '{name}' here; the nearest are tables [[{nearest}]]"),
        None => format!("there is no '{name}' here; the nearest is the section [{nearest}]"),
    }
}

fn brackets(name: &str) -> String {
    format!("there may be several: begin each with [[{name}]]")
}

fn sections() -> Vec<String> {
    let mut sections: Vec<String> = table_names().map(str::to_owned).collect();
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
            let name = format!("{section}.{}", key.get_ref());
            if let Some(form) = table_form(&name) {
                let DeValue::Array(tables) = value.get_ref() else {
                    return Err(self.wrong(key.span().start, &brackets(&name)));
                };
                self.tables(settings, form, tables)?;
                continue;
            }
            settings.set(&name, self.values(value)?, self.origin(key.span().start))?;
        }
        Ok(())
    }

    fn origin(&self, offset: usize) -> Origin {
        Origin::File(self.path.to_owned(), self.line(offset))
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

    fn tables(
        &self,
        settings: &mut Settings,
        form: &TableForm,
        tables: &DeArray<'_>,
    ) -> Result<(), String> {
        for table in tables.iter() {
            let offset = table.span().start;
            let DeValue::Table(entries) = table.get_ref() else {
                return Err(self.wrong(offset, &brackets(form.name)));
            };
            settings.add_table(form, self.table(form, entries, offset)?);
        }
        Ok(())
    }

    fn table(
        &self,
        form: &TableForm,
        entries: &DeTable<'_>,
        offset: usize,
    ) -> Result<Table, String> {
        let name = form.name;
        let mut table = Table::new(form, self.line(offset));
        for (key, value) in entries {
            let (key, offset) = (key.get_ref().as_ref(), key.span().start);
            let Some((_, known)) = form.keys.iter().find(|(own, _)| *own == key) else {
                let names: Vec<&str> = form.keys.iter().map(|(own, _)| *own).collect();
                let reason = format!("a [[{name}]] has no '{key}': it has {}", names.join(", "));
                return Err(self.wrong(offset, &reason));
            };
            let values = self.values(value)?;
            if *known != Form::List && values.len() != 1 {
                return Err(
                    self.wrong(offset, &format!("{name}.{key} takes one value, not a list"))
                );
            }
            table.set(key, Setting { values, origin: self.origin(offset) });
        }
        match form.required.iter().find(|key| table.values.get(key).is_none()) {
            Some(missing) => Err(self.wrong(offset, &format!("this [[{name}]] has no {missing}"))),
            None => Ok(table),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::Mount;

    fn settings(text: &str) -> Result<Settings, String> {
        let mut settings = Settings::default();
        read(&mut settings, Path::new("r.toml"), text)?;
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
        assert_eq!(read.mounts(), [mount]);
    }

    #[test]
    fn tables_stand_beside_the_section_of_their_name() {
        let read = settings(
            "[access]\nhosts = [\"a\"]\n[[access.at]]\npaths = [\"/x\", \"/y\"]\n\
             [[access.at]]\npaths = \"/z\"\norigin_required = true\n",
        );
        let read = read.unwrap();
        assert_eq!(read.section("access").get("hosts").unwrap().values, ["a"]);
        let [first, second] = read.tables("access.at") else { panic!("two tables") };
        assert_eq!((first.line, second.line), (3, 5));
        assert_eq!(first.values.get("paths").unwrap().values, ["/x", "/y"]);
        assert_eq!(second.text("origin_required"), "true");
        let wrong = second.values.read("paths", |_| Err::<(), _>("bad".to_owned())).unwrap_err();
        assert_eq!(wrong, "r.toml:6: access.at.paths: bad");
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
            ("[app]\nkind = \"echo\"\n", 1, "[[app]]"),
            ("app = [1]\n", 1, "[[app]]"),
            ("[tls.name]\nname = \"a\"\n", 1, "[[tls.name]]"),
            ("[[access]]\nhosts = [\"a\"]\n", 1, "[access"),
            ("[[access.at]]\nhosts = [\"a\"]\n", 1, "no paths"),
            ("[[access.at]]\npaths = [\"/\"]\norigin_required = [true, true]\n", 3, "one value"),
            ("[[tls.name]]\nname = \"a\"\ncert = \"b\"\n", 3, "'cert'"),
            ("[server]\ncores = \"0\"\ncores = \"1\"\n", 3, "duplicate"),
        ] {
            let error = settings(text).unwrap_err();
            assert!(error.starts_with(&format!("r.toml:{line}: ")), "{text}: {error}");
            assert!(error.contains(named) && !error.contains('\n'), "{text}: {error}");
        }
    }
}
