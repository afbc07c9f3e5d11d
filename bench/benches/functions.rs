//! Times of the engine's small pieces of work, and of what they are compared with; what they are is
//! in `ringsock_bench::work`. With the allocator of the project's binaries.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringsock_bench::work;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn functions(criterion: &mut Criterion) {
    let all = [work::all(), work::yardsticks(), work::sweep()];
    for work in all.into_iter().flatten() {
        let (group, parameter) = work.name.split_once('/').unwrap_or((&work.name, ""));
        let mut group = criterion.benchmark_group(group);
        if let Some(bytes) = work.payload_bytes {
            group.throughput(Throughput::Bytes(bytes as u64));
        }
        let name = if parameter.is_empty() { "each" } else { parameter };
        group.bench_function(name, |bencher| {
            let mut pass = work.prepare();
            // For one operation, whatever a pass does.
            bencher.iter_custom(|iterations| {
                let passes = iterations.div_ceil(work.operations);
                let began = Instant::now();
                for _ in 0..passes {
                    pass();
                }
                began.elapsed().mul_f64(iterations as f64 / (passes * work.operations) as f64)
            });
        });
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1));
    targets = functions
}
criterion_main!(benches);
