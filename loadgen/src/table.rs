//! Tables in two forms: as people read them, and as programs do, with plain numbers and the unit in
//! the name of the column.

use serde::{Serialize, Serializer};

use crate::output::{duration_text, grouped, table_text};

/// A table; the first column names the row.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Table {
    pub(crate) title: String,
    columns: Vec<Cell>,
    rows: Vec<Vec<Cell>>,
}

/// A cell, or the head of a column. On a page it is what people read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    shown: String,
    raw: String,
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.shown)
    }
}

impl Cell {
    /// A text that is the same for both.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        let shown = text.into();
        Self { raw: shown.clone(), shown }
    }

    /// A number without fraction.
    pub(crate) fn count(number: f64) -> Self {
        Self { shown: grouped(number), raw: format!("{number:.0}") }
    }

    /// A number as it is shown, and as it is.
    pub(crate) fn number(shown: impl Into<String>, number: f64) -> Self {
        Self { shown: shown.into(), raw: number.to_string() }
    }

    /// A time; for programs in microseconds.
    pub(crate) fn us(us: f64) -> Self {
        Self { shown: duration_text(us * 1000.0), raw: format!("{us:.3}") }
    }

    /// A time of which there may be none; for programs in nanoseconds.
    pub(crate) fn ns(ns: Option<f64>) -> Self {
        ns.map_or_else(Self::none, |ns| Self { shown: duration_text(ns), raw: format!("{ns:.1}") })
    }

    /// Bytes, on an average, which may not be known.
    pub(crate) fn bytes(bytes: Option<f64>) -> Self {
        bytes.map_or_else(Self::none, |bytes| Self {
            shown: format!("{bytes:.1} B"),
            raw: format!("{bytes:.3}"),
        })
    }

    /// A word for people where other rows have a number, and nothing for programs.
    pub(crate) fn words(shown: impl Into<String>) -> Self {
        Self { shown: shown.into(), raw: String::new() }
    }

    /// What is not known.
    pub(crate) fn none() -> Self {
        Self::words("-")
    }
}

impl Table {
    /// A table with columns as people call them and as programs do.
    pub(crate) fn new(title: &str, columns: &[(&str, &str)], rows: Vec<Vec<Cell>>) -> Self {
        let column = |(shown, raw): &(&str, &str)| Cell {
            shown: (*shown).to_owned(),
            raw: (*raw).to_owned(),
        };
        let columns = columns.iter().map(column).collect();
        Self { title: title.to_owned(), columns, rows }
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let shown = |cells: &Vec<Cell>| cells.iter().map(|cell| cell.shown.clone()).collect();
        let rows: Vec<Vec<String>> = self.rows.iter().map(shown).collect();
        table_text(&shown(&self.columns), &rows)
    }

    /// For programs: the names of the columns, then the rows.
    pub(crate) fn raw(&self) -> impl Iterator<Item = Vec<&str>> {
        let lines = std::iter::once(&self.columns).chain(&self.rows);
        lines.map(|cells| cells.iter().map(|cell| cell.raw.as_str()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_units_and_programs_plain_numbers() {
        let row = vec![
            Cell::text("a"),
            Cell::count(14_145.0),
            Cell::us(45.3),
            Cell::ns(Some(1234.5)),
            Cell::ns(None),
            Cell::number("99.5 %", 0.995),
            Cell::words("max"),
            Cell::bytes(Some(26.0)),
        ];
        let columns = [
            ("name", "name"),
            ("messages/s", "messages_per_second"),
            ("p50", "p50_us"),
            ("CPU", "cpu_ns"),
            ("more", "more_ns"),
            ("reach", "reach"),
            ("demanded", "demanded_per_second"),
            ("wire", "wire_bytes"),
        ];
        let table = Table::new("some", &columns, vec![row]);
        let raw: Vec<String> = table.raw().map(|cells| cells.join("|")).collect();
        assert_eq!(
            raw[0],
            "name|messages_per_second|p50_us|cpu_ns|more_ns|reach|demanded_per_second|wire_bytes"
        );
        assert_eq!(raw[1], "a|14145|45.300|1234.5||0.995||26.000");
        assert!(
            table.text().contains("14,145  45.3 µs  1.23 µs     -  99.5 %       max  26.0 B"),
            "{}",
            table.text()
        );
        let page = serde_json::to_value(&table).unwrap();
        assert_eq!((&page["columns"][2], &page["rows"][0][2]), (&"p50".into(), &"45.3 µs".into()));
    }
}
