//! What each subscriber of a fan-out got, and who got least. Deliveries are counted where they
//! arrive; here they are only compared.

use serde::Serialize;

/// Subscribers that are told one by one.
const WORST_MAX: usize = 10;

/// What one subscriber got, over the whole run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Attendee {
    pub(crate) number: u32,
    /// Messages that were published for it.
    pub(crate) due: u64,
    pub(crate) received: u64,
    pub(crate) duplicates: u64,
    pub(crate) reordered: u64,
    /// The longest latency of those that are counted.
    pub(crate) latency_max_ns: u64,
}

impl Attendee {
    fn lost(&self) -> u64 {
        self.due.saturating_sub(self.received)
    }

    fn reach(&self) -> f64 {
        if self.due == 0 { 1.0 } else { self.received as f64 / self.due as f64 }
    }

    /// Worse ones are greater.
    fn badness(&self) -> (u64, u64, u64, u64) {
        (self.lost(), self.duplicates, self.reordered, self.latency_max_ns)
    }
}

/// What all subscribers got.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attendance {
    subscribers: u64,
    short: u64,
    worst_reach: Option<f64>,
    worst_latency_ns: u64,
    most_duplicates: u64,
    most_reordered: u64,
    /// The worst of them, the very worst first.
    worst: Vec<Attendee>,
}

impl Attendance {
    /// Adds a subscriber.
    pub(crate) fn add(&mut self, attendee: Attendee) {
        self.subscribers += 1;
        self.short += u64::from(attendee.lost() > 0);
        self.raise(attendee.reach(), attendee.latency_max_ns);
        self.most_duplicates = self.most_duplicates.max(attendee.duplicates);
        self.most_reordered = self.most_reordered.max(attendee.reordered);
        self.keep(attendee);
    }

    fn raise(&mut self, reach: f64, latency_ns: u64) {
        self.worst_reach = Some(self.worst_reach.map_or(reach, |worst| worst.min(reach)));
        self.worst_latency_ns = self.worst_latency_ns.max(latency_ns);
    }

    fn keep(&mut self, attendee: Attendee) {
        let at = self.worst.partition_point(|worse| worse.badness() >= attendee.badness());
        if at < WORST_MAX {
            self.worst.insert(at, attendee);
            self.worst.truncate(WORST_MAX);
        }
    }

    /// Adds all of another.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.subscribers += other.subscribers;
        self.short += other.short;
        if let Some(reach) = other.worst_reach {
            self.raise(reach, other.worst_latency_ns);
        }
        self.most_duplicates = self.most_duplicates.max(other.most_duplicates);
        self.most_reordered = self.most_reordered.max(other.most_reordered);
        other.worst.iter().for_each(|attendee| self.keep(*attendee));
    }

    /// What is told of them.
    pub(crate) fn summary(&self) -> AttendanceSummary {
        let us = |ns: u64| ns as f64 / 1000.0;
        let told = |attendee: &Attendee| AttendeeSummary {
            subscriber: attendee.number,
            reach: attendee.reach(),
            lost: attendee.lost(),
            duplicates: attendee.duplicates,
            reordered: attendee.reordered,
            latency_max_us: us(attendee.latency_max_ns),
        };
        AttendanceSummary {
            subscribers: self.subscribers,
            short: self.short,
            worst_reach: self.worst_reach.unwrap_or(1.0),
            worst_latency_us: us(self.worst_latency_ns),
            most_duplicates: self.most_duplicates,
            most_reordered: self.most_reordered,
            worst: self.worst.iter().map(told).collect(),
        }
    }
}

/// The JSON form.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AttendanceSummary {
    pub(crate) subscribers: u64,
    /// Those that did not get all that was published for them.
    pub(crate) short: u64,
    /// The least share that one of them got.
    pub(crate) worst_reach: f64,
    pub(crate) worst_latency_us: f64,
    /// The most that one of them got twice, and out of order.
    pub(crate) most_duplicates: u64,
    pub(crate) most_reordered: u64,
    /// Some of them, the worst first.
    pub(crate) worst: Vec<AttendeeSummary>,
}

/// The JSON form of one subscriber.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct AttendeeSummary {
    pub(crate) subscriber: u32,
    pub(crate) reach: f64,
    pub(crate) lost: u64,
    pub(crate) duplicates: u64,
    pub(crate) reordered: u64,
    pub(crate) latency_max_us: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_are_told_first_and_all_are_counted() {
        let (mut all, mut part) = (Attendance::default(), Attendance::default());
        for number in 0..40 {
            let attendee = Attendee { number, due: 100, received: 100, ..Attendee::default() };
            let attendee = match number {
                7 => Attendee { received: 90, ..attendee },
                8 => Attendee { duplicates: 3, ..attendee },
                9 => Attendee { received: 75, reordered: 5, ..attendee },
                _ => Attendee { latency_max_ns: u64::from(number) * 1000, ..attendee },
            };
            if number % 2 == 0 { part.add(attendee) } else { all.add(attendee) }
        }
        all.merge(&part);
        let summary = all.summary();
        assert_eq!((summary.subscribers, summary.short), (40, 2));
        assert_eq!((summary.most_duplicates, summary.most_reordered), (3, 5));
        assert!((summary.worst_reach - 0.75).abs() < 1e-9, "{summary:?}");
        assert!((summary.worst_latency_us - 39.0).abs() < 1e-9, "{summary:?}");
        let worst: Vec<u32> = summary.worst.iter().map(|one| one.subscriber).collect();
        assert_eq!(worst[..4], [9, 7, 8, 39]);
        assert_eq!(worst.len(), WORST_MAX);
    }

    #[test]
    fn nobody_is_short_of_nothing() {
        let mut attendance = Attendance::default();
        assert!((attendance.summary().worst_reach - 1.0).abs() < 1e-9);
        attendance.add(Attendee::default());
        assert!((attendance.summary().worst_reach - 1.0).abs() < 1e-9);
        assert_eq!(attendance.summary().short, 0);
    }
}
