//! Who takes turns in a row, and with what. What they are is in `contestants`, what they do in `rows`.

use ringsock_bench::work::{self, Work};

use crate::contestants::Contestant;
use crate::load::Load;
use crate::rows::{Baseline, Measured, Row};

/// One who takes part in a row.
pub(crate) struct Entrant<'a> {
    /// As it is printed and recorded.
    pub(crate) name: String,
    pub(crate) task: Task<'a>,
}

/// What an entrant does in its turn.
pub(crate) enum Task<'a> {
    Serve(&'a Contestant, Load),
    Compute(Work),
}

/// All who can do a row's work; what is judged comes first.
pub(crate) fn of<'a>(row: &Row, all: &'a [Contestant]) -> Vec<Entrant<'a>> {
    match &row.measured {
        Measured::Servers { load, baseline } => servers(*load, baseline.as_ref(), all),
        Measured::Functions(pieces) => {
            let entrant = |&(name, piece): &(&str, &str)| {
                let name = name.to_owned();
                Some(Entrant { name, task: Task::Compute(work::find(piece)?) })
            };
            pieces.iter().filter_map(entrant).collect()
        }
    }
}

/// All who can bear the load, and those of ours again with the baseline.
fn servers<'a>(load: Load, baseline: Option<&Baseline>, all: &'a [Contestant]) -> Vec<Entrant<'a>> {
    let able = || all.iter().filter(|contestant| contestant.can(load));
    let entrant = |contestant: &'a Contestant| Entrant {
        name: contestant.name().to_owned(),
        task: Task::Serve(contestant, load),
    };
    let again = baseline.into_iter().flat_map(|baseline| {
        let ours = able().filter(|contestant| contestant.is_ours());
        ours.map(|contestant| Entrant {
            name: format!("{}, {}", contestant.name(), baseline.label),
            task: Task::Serve(contestant, baseline.load),
        })
    });
    able().map(entrant).chain(again).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::contestants::{self, OWN, Place};
    use crate::materials::Materials;
    use crate::rows::{FUNCTIONS, ROWS};

    #[test]
    fn the_server_under_test_comes_first_and_no_name_twice() {
        let all = contestants::all(Vec::new());
        for row in ROWS {
            let entrants = of(row, &all);
            let names: Vec<&str> = entrants.iter().map(|entrant| &*entrant.name).collect();
            assert_eq!(names[0] == OWN, row.group != FUNCTIONS, "{}", row.name);
            for (index, name) in names.iter().enumerate() {
                assert!(!names[..index].contains(name), "{}: {name}", row.name);
            }
        }
    }

    #[test]
    fn every_target_is_against_somebody_who_may_take_part() {
        let peers = ["uWebSockets", "ws", "Bun", "sockudo-ws"];
        let all = contestants::all(Vec::new());
        for row in ROWS {
            let entrants = of(row, &all);
            for name in row.targets.iter().flat_map(|target| target.against) {
                let known = entrants.iter().any(|entrant| entrant.name == *name);
                assert!(known || peers.contains(name), "{}: {name}", row.name);
            }
        }
    }

    #[test]
    fn a_second_shard_gets_a_core_of_its_own() {
        let commands = commands(|load| load.shards() > 1);
        assert!(commands[0].contains("\"--cores\" \"3,5\""), "{commands:?}");
        assert!(commands[2].contains("\"--core\" \"3\""), "{commands:?}");
        assert!(commands[2].contains("\"--further-cores\" \"5\""), "{commands:?}");
        assert!(commands[3].contains("\"--cores\" \"3\""), "{commands:?}");
    }

    #[test]
    fn only_what_is_compared_with_plain_speaks_tls() {
        let commands = commands(|load| load.tls);
        let tls: Vec<bool> =
            commands.iter().map(|command| command.contains("--tls-cert")).collect();
        assert_eq!(tls, [true, true, false, false]);
    }

    /// How the entrants are started of the first row with a baseline and such a load.
    fn commands(is_wanted: fn(Load) -> bool) -> Vec<String> {
        let is_wanted = |row: &&Row| match &row.measured {
            Measured::Servers { load, baseline } => baseline.is_some() && is_wanted(*load),
            Measured::Functions(_) => false,
        };
        let materials = Materials::new().unwrap();
        let command = |entrant: Entrant<'_>| {
            let Task::Serve(contestant, load) = entrant.task else { unreachable!() };
            let place = Place {
                binaries: Path::new("x"),
                materials: &materials,
                cores: &[3, 5][..load.shards()],
                address: "127.0.0.1:4711".parse().unwrap(),
            };
            format!("{:?}", contestant.command(&place, load))
        };
        let row = ROWS.iter().find(is_wanted).unwrap();
        of(row, &contestants::all(Vec::new())).into_iter().map(command).collect()
    }
}
