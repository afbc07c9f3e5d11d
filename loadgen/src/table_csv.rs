//! Results as CSV (RFC 4180): the rows of a mode that makes a table, otherwise the run over time.

use crate::exhibit::Exhibit;
use crate::table::Table;

/// A result as CSV.
pub(crate) fn of(exhibit: &Exhibit) -> String {
    match exhibit.tables.first() {
        Some(table) if exhibit.rows_are_the_result => of_table(table),
        _ => of_timelines(exhibit),
    }
}

fn of_table(table: &Table) -> String {
    let line = |cells: Vec<&str>| cells.into_iter().map(quoted).collect::<Vec<_>>().join(",");
    table.raw().map(|cells| line(cells) + "\r\n").collect()
}

fn of_timelines(exhibit: &Exhibit) -> String {
    let mut text =
        "series,seconds,received,rate_per_second,p50_us,p99_us,max_us,server_cores\r\n".to_owned();
    for series in &exhibit.series {
        for point in &series.timeline {
            let server = point.server_cores.map(|cores| format!("{cores:.3}")).unwrap_or_default();
            text += &format!(
                "{},{:.3},{},{:.1},{:.1},{:.1},{:.1},{server}\r\n",
                quoted(&series.name),
                point.at,
                point.received,
                point.rate,
                point.p50,
                point.p99,
                point.max
            );
        }
    }
    text
}

fn quoted(cell: &str) -> String {
    match cell.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", cell.replace('"', "\"\"")),
        false => cell.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exhibit::Series;
    use crate::table::Cell;
    use crate::timeline::Point;
    use crate::watch::Recorded;

    #[test]
    fn cells_with_commas_and_quotes_are_quoted() {
        let row = vec![Cell::count(1_000.0), Cell::text("say \"hi\"")];
        let table = Table::new("", &[("a b", "a"), ("b, c", "b,c")], vec![row]);
        let exhibit =
            Exhibit { tables: vec![table], rows_are_the_result: true, ..Exhibit::default() };
        assert_eq!(of(&exhibit), "a,\"b,c\"\r\n1000,\"say \"\"hi\"\"\"\r\n");
    }

    #[test]
    fn a_run_has_a_line_for_each_interval() {
        let timeline = vec![Point { at: 0.25, received: 10, rate: 40.0, ..Point::default() }];
        let recorded = Recorded { timeline, ..Recorded::default() };
        let exhibit = Exhibit { series: vec![Series::new("echo", recorded)], ..Exhibit::default() };
        let text = of(&exhibit);
        assert_eq!(text.lines().nth(1), Some("echo,0.250,10,40.0,0.0,0.0,0.0,"));
    }
}
