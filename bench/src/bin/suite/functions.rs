//! Times of single functions, from what `cargo bench` left behind.
//!
//! Nothing is run: those numbers are of another kind and take their own time to measure.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::record::Function;

/// Everything that criterion left in its folder, in the order of its names.
pub(crate) fn read(folder: &Path) -> Vec<Function> {
    let mut functions = Vec::new();
    collect(folder, &mut functions);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_found_at_any_depth() {
        let root = std::env::temp_dir().join(format!("ringsock-functions-{}", std::process::id()));
        for (id, median) in [("unmask/1024 B", 110.0), ("accept key/each", 100.0)] {
            let folder = root.join(id).join("new");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("benchmark.json"), format!("{{\"full_id\":\"{id}\"}}")).unwrap();
            let estimates = format!("{{\"median\":{{\"point_estimate\":{median}}}}}");
            fs::write(folder.join("estimates.json"), estimates).unwrap();
        }
        let functions = read(&root);
        fs::remove_dir_all(&root).unwrap();
        let names: Vec<&str> = functions.iter().map(|function| &*function.name).collect();
        assert_eq!(names, ["accept key/each", "unmask/1024 B"]);
        assert!((functions[1].nanoseconds - 110.0).abs() < 1e-9);
    }
}
