//! Unmasking against the copy of the same bytes and against a byte loop.
//!
//! Payloads lie one behind another as they do in a receive buffer, 12 KiB of them, so that
//! neither side is flattered: what is measured is neither the forwarding of a store to the load
//! of the same bytes, nor memory. A payload too large for that is alone.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringsock::simd::apply_mask;

/// Bytes of payload, from the hottest case to the largest.
const SIZES: [usize; 6] = [20, 125, 1024, 16_384, 65_536, 1 << 20];
/// What the payloads of one iteration amount to, at least one of them.
const ARENA_BYTES: usize = 12 * 1024;
/// A masked header and the odd start it gives a payload.
const HEADER_BYTES: usize = 6;
const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

fn mask(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mask");
    for size in SIZES {
        let stride = size + HEADER_BYTES;
        let count = (ARENA_BYTES / stride).max(1);
        let source = vec![0x5A; count * stride];
        let mut target = vec![0xA5; count * stride];
        group.throughput(Throughput::Bytes((count * size) as u64));

        group.bench_function(BenchmarkId::new("memcpy", size), |bencher| {
            bencher.iter(|| {
                for (from, to) in source.chunks(stride).zip(target.chunks_mut(stride)) {
                    black_box(&mut to[HEADER_BYTES..])
                        .copy_from_slice(black_box(&from[HEADER_BYTES..]));
                }
            });
        });
        group.bench_function(BenchmarkId::new("apply_mask", size), |bencher| {
            bencher.iter(|| {
                for frame in target.chunks_mut(stride) {
                    apply_mask(black_box(&mut frame[HEADER_BYTES..]), black_box(KEY), 0);
                }
            });
        });
        group.bench_function(BenchmarkId::new("naive", size), |bencher| {
            bencher.iter(|| {
                for frame in target.chunks_mut(stride) {
                    let key = black_box(KEY);
                    for (i, byte) in black_box(&mut frame[HEADER_BYTES..]).iter_mut().enumerate() {
                        *byte ^= key[i % 4];
                    }
                }
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(200))
        .measurement_time(std::time::Duration::from_secs(1));
    targets = mask
}
criterion_main!(benches);
