//! The rows on unmasking, from what `cargo bench --bench mask` left behind.
//!
//! Nothing is run: those numbers are of another kind and take their own time to measure.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::report::{Outcome, Subject};

/// Bytes of payload that the target speaks of.
const SIZES: [usize; 4] = [1024, 16_384, 65_536, 1 << 20];
const TARGET: f64 = 1.10;

/// One outcome for each size that was measured, if its name contains `only`.
pub(crate) fn outcomes(binaries: &Path, only: &str) -> Vec<Outcome> {
    let folder = binaries.with_file_name("criterion").join("mask");
    let measured = |function: &str, size: usize| {
        let file = folder.join(function).join(size.to_string()).join("new/estimates.json");
        let text = fs::read_to_string(file).ok()?;
        let estimates: Value = serde_json::from_str(&text).ok()?;
        estimates.get("median")?.get("point_estimate")?.as_f64()
    };
    let outcome = |size: usize| {
        let subjects = vec![
            Subject::measured("apply_mask", measured("apply_mask", size)?),
            Subject::measured("memcpy", measured("memcpy", size)?),
        ];
        let name = format!("unmask {} KiB", size / 1024);
        Some(Outcome { name, unit: "ns/iteration", target: TARGET, subjects })
    };
    SIZES.into_iter().filter_map(outcome).filter(|outcome| outcome.name.contains(only)).collect()
}
