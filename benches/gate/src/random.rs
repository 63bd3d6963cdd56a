//! Repeatable randomness (SplitMix64): the keys made here guard nothing but a benchmark's database.

use std::sync::atomic::{AtomicU64, Ordering};

use kallglot_core::random::RandomSource;

/// The same bytes in every run with one seed.
pub(crate) struct Repeatable(AtomicU64);

impl Repeatable {
    pub(crate) fn new(seed: u64) -> Self {
        // Mixed, so that neighbouring seeds have nothing in common.
        Self(AtomicU64::new(mix(seed)))
    }

    pub(crate) fn next(&self) -> u64 {
        mix(self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed))
    }
}

const fn mix(mut n: u64) -> u64 {
    n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

impl RandomSource for Repeatable {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}
