//! Rules of the code that a compiler does not check: who may import whom, where `unsafe` may stand,
//! how long files are.

use std::fs;
use std::path::{Path, PathBuf};

/// Each module of `src` with the modules it may import, lowest first. A module may always import
/// itself. What is not in the table may not exist.
const LAYERS: &[(&str, &[&str])] = &[
    ("latency", &[]),
    ("limits", &[]),
    ("metrics", &[]),
    ("simd", &[]),
    ("buffer", &["limits"]),
    ("protocol", &["limits", "simd", "buffer"]),
    ("tls", &["limits", "buffer"]),
    ("pubsub", &["limits", "buffer", "protocol"]),
    ("connection", &["limits", "metrics", "buffer", "protocol", "tls"]),
    ("handler", &["limits", "metrics", "buffer", "protocol", "tls", "connection", "pubsub"]),
    ("driver", &["limits", "buffer", "handler"]),
    (
        "shard",
        &[
            "limits",
            "metrics",
            "buffer",
            "protocol",
            "tls",
            "connection",
            "pubsub",
            "handler",
            "driver",
        ],
    ),
    (
        "server",
        &[
            "latency",
            "limits",
            "metrics",
            "protocol",
            "tls",
            "connection",
            "pubsub",
            "handler",
            "driver",
            "shard",
        ],
    ),
    ("client", &["limits", "buffer", "protocol", "tls", "connection", "handler", "driver"]),
];

/// Files that may contain `unsafe`, by the start of their path.
const UNSAFE_ALLOWED: &[&str] = &["simd/", "driver/ring/", "driver/epoll/mod.rs"];

/// Lines from which on a file certainly holds two things. Tests do not count.
const FILE_LINES_MAX: usize = 600;

/// Every Rust file below a folder, with its path from there.
fn sources(root: &Path) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("node_modules") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                files.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files.sort();
    assert!(!files.is_empty(), "no sources in {}", root.display());
    files
}

fn engine_sources() -> Vec<(String, String)> {
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

/// The code of a line: comments and documentation examples import what they like.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

fn module_of(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

#[test]
fn modules_import_only_what_their_layer_allows() {
    let mut wrong = Vec::new();
    for (file, text) in engine_sources() {
        let module = module_of(&file);
        if module == "lib" {
            continue;
        }
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == module) else {
            wrong.push(format!("{file}: the module {module} is not in the table of layers"));
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            let line = code(line);
            if line.contains("crate::{") || line.contains("super::super") {
                wrong.push(format!("{file}:{}: hides which module it imports", number + 1));
            }
            for used in line.split("crate::").skip(1) {
                let name: String =
                    used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let is_module = LAYERS.iter().any(|(known, _)| *known == name);
                if is_module && name != module && !allowed.contains(&name.as_str()) {
                    wrong.push(format!("{file}:{}: {module} may not import {name}", number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_stands_only_where_it_is_allowed() {
    let mut wrong = Vec::new();
    for (file, text) in engine_sources() {
        if UNSAFE_ALLOWED.iter().any(|allowed| file.starts_with(allowed)) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let words = code(line).split(|c: char| !c.is_alphanumeric() && c != '_');
            if words.into_iter().any(|word| word == "unsafe") {
                wrong.push(format!("{file}:{}", number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_stay_short_enough_to_read() {
    let mut wrong = Vec::new();
    for folder in ["engine/src", "apps", "loadgen/src", "bench/src", "fuzz/src"] {
        for (file, text) in sources(&repository().join(folder)) {
            let lines = text.lines().take_while(|line| !line.contains("#[cfg(test)]"));
            let longest = lines.clone().map(|line| line.chars().count()).max();
            if lines.clone().count() > FILE_LINES_MAX {
                wrong.push(format!("{folder}/{file}: {} lines", lines.count()));
            }
            if longest > Some(120) {
                wrong.push(format!("{folder}/{file}: a line of {longest:?} characters"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn module_documentation_is_there() {
    for (file, text) in engine_sources() {
        let first = text.lines().next().unwrap_or_default();
        assert!(first.starts_with("//!"), "{file} does not begin by saying what it is");
    }
}

#[test]
fn applications_use_the_public_interface_only() {
    for folder in ["apps", "loadgen", "bench", "fuzz/src"] {
        for (file, text) in sources(&repository().join(folder)) {
            assert!(
                !text.contains("#[path"),
                "{folder}/{file} reaches into another crate's sources"
            );
        }
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}
