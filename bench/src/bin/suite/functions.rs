//! Times of single functions, from what `cargo bench` left behind.
//!
//! Nothing is run: those numbers are of another kind and take their own time to measure.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::outcome::{Outcome, Sample, Subject};
use crate::record::Function;
use crate::rows::Target;

/// Bytes of payload that the target on unmasking speaks of.
const SIZES: [usize; 4] = [1024, 16_384, 65_536, 1 << 20];
const UNMASK: &[Target] = &[Target { against: &["memcpy"], at_most: 1.10 }];

/// Everything that criterion measured last, in the order of its names. `binaries` is the folder
/// beside which it keeps its results.
pub(crate) fn read(binaries: &Path) -> Vec<Function> {
    let mut functions = Vec::new();
    collect(&binaries.with_file_name("criterion"), &mut functions);
    functions.sort_by(|a, b| a.name.cmp(&b.name));
    functions
}

/// Every benchmark is a folder at some depth that holds a folder `new`.
fn collect(folder: &Path, functions: &mut Vec<Function>) {
    if let Some(function) = function(&folder.join("new")) {
        functions.push(function);
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() && entry.file_name() != "new" && entry.file_name() != "base" {
            collect(&entry.path(), functions);
        }
    }
}

fn function(folder: &Path) -> Option<Function> {
    let json = |name: &str| -> Option<Value> {
        serde_json::from_str(&fs::read_to_string(folder.join(name)).ok()?).ok()
    };
    let name = json("benchmark.json")?.get("full_id")?.as_str()?.to_owned();
    let estimates = json("estimates.json")?;
    let nanoseconds = estimates.pointer("/median/point_estimate")?.as_f64()?;
    Some(Function { name, nanoseconds })
}

/// The rows on unmasking, as far as they were measured.
pub(crate) fn unmask(functions: &[Function]) -> Vec<Outcome> {
    let outcome = |size: usize| {
        let subject = |name: &str| {
            let id = format!("mask/{name}/{size}");
            let function = functions.iter().find(|function| function.name == id)?;
            let samples = vec![Sample::of(function.nanoseconds)];
            Some(Subject { name: name.into(), samples })
        };
        let mut outcome = Outcome {
            name: format!("unmask {} KiB", size / 1024),
            group: "unmask".into(),
            unit: "ns/iteration".into(),
            subjects: vec![subject("apply_mask")?, subject("memcpy")?],
            absent: Vec::new(),
            verdicts: Vec::new(),
        };
        outcome.judge(UNMASK);
        Some(outcome)
    };
    SIZES.into_iter().filter_map(outcome).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_found_at_any_depth_and_unmasking_is_compared_with_copying() {
        let root = std::env::temp_dir().join(format!("ringsock-functions-{}", std::process::id()));
        for (id, median) in [("mask/apply_mask/1024", 110.0), ("mask/memcpy/1024", 100.0)] {
            let folder = root.join("criterion").join(id).join("new");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("benchmark.json"), format!("{{\"full_id\":\"{id}\"}}")).unwrap();
            let estimates = format!("{{\"median\":{{\"point_estimate\":{median}}}}}");
            fs::write(folder.join("estimates.json"), estimates).unwrap();
        }
        let functions = read(&root.join("release"));
        fs::remove_dir_all(&root).unwrap();
        assert_eq!(functions[1].name, "mask/memcpy/1024");
        let rows = unmask(&functions);
        assert_eq!(rows.len(), 1);
        let reached = rows[0].verdicts[0].reached.unwrap();
        assert!((reached.ratio - 1.10).abs() < 1e-9);
    }
}
