//! The list of connections as JSON: those of all shards for which most bytes wait. It shows no
//! payload and nothing a peer has chosen.

use std::cmp::Reverse;
use std::fmt::Write;

use super::Reports;
use crate::connection::Phase;
use crate::handler::ConnectionReport;
use crate::protocol::Role;

pub(super) fn page(reports: &Reports, listed_max: usize) -> String {
    let answered: Vec<_> = reports.iter().flatten().collect();
    let total: usize = answered.iter().map(|report| report.connections).sum();
    let mut listed: Vec<(usize, &ConnectionReport)> = Vec::new();
    for report in &answered {
        listed.extend(report.listed.iter().map(|one| (report.shard, one)));
    }
    listed.sort_by_key(|(_, one)| Reverse(one.queued_bytes));
    listed.truncate(listed_max);
    let mut page = format!(
        "{{\"total\":{total},\"shards\":{},\"shards_answered\":{},\"connections\":[",
        reports.len(),
        answered.len()
    );
    for (place, (shard, one)) in listed.into_iter().enumerate() {
        page += if place == 0 { "\n" } else { ",\n" };
        let address = one.address.map_or("null".to_owned(), |address| format!("\"{address}\""));
        // Writing to a string does not fail.
        let _ = write!(
            page,
            "{{\"shard\":{shard},\"slot\":{},\"role\":\"{}\",\"address\":{address},\
             \"phase\":\"{}\",\"phase_age_ms\":{},\"queued_bytes\":{}}}",
            one.slot,
            role(one.role),
            phase(one.phase),
            one.phase_age.as_millis(),
            one.queued_bytes
        );
    }
    page + "\n]}\n"
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Server => "server",
        Role::Client => "client",
    }
}

fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Handshake => "handshake",
        Phase::Open => "open",
        Phase::CloseSent => "close_sent",
        Phase::Flushing => "flushing",
        Phase::Lingering => "lingering",
        Phase::Ended => "ended",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::handler::ShardReport;
    use crate::metrics::Counters;

    fn connection(slot: u32, queued_bytes: usize) -> ConnectionReport {
        ConnectionReport {
            slot,
            role: Role::Server,
            address: Some("[::1]:7".parse().unwrap()),
            phase: Phase::Open,
            phase_age: Duration::from_millis(12),
            queued_bytes,
        }
    }

    #[test]
    fn those_with_most_waiting_come_first_from_all_shards() {
        let report = |shard, listed| {
            let counters = Counters::default();
            let deliveries = Default::default();
            let (connections, draining) = (5, false);
            Some(ShardReport { shard, counters, deliveries, connections, draining, listed })
        };
        let reports = [
            report(0, vec![connection(1, 10), connection(2, 0)]),
            None,
            report(2, vec![connection(3, 20)]),
        ];
        let first = "{\"shard\":2,\"slot\":3,\"role\":\"server\",\"address\":\"[::1]:7\",\
                     \"phase\":\"open\",\"phase_age_ms\":12,\"queued_bytes\":20}";
        let page = page(&reports, 2);
        let mut lines = page.lines();
        let head = "{\"total\":10,\"shards\":3,\"shards_answered\":2,\"connections\":[";
        assert_eq!(lines.next(), Some(head));
        assert_eq!(lines.next(), Some(format!("{first},").as_str()));
        assert!(lines.next().unwrap().contains("\"slot\":1,"));
        assert_eq!(lines.next(), Some("]}"));
    }
}
