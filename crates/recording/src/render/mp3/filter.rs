//! From samples to the 576 lines of a granule: the polyphase filter bank of 32 bands (11172-3, annex C 1.3), then for each band the modified
//! cosine transform of long blocks (C 1.5.3.3) and the butterflies against aliasing.
//!
//! The tracks have nothing above 4 kHz, so of the 32 bands of 250 Hz only [`BANDS`] are computed. Long blocks are always used: they
//! spread what they can't say over 72 ms, which at this rate lies more than 30 dB below the speech that it is spread from.

use std::f64::consts::PI;

use super::tables;

/// Samples and lines of a granule, which is a frame at this rate.
pub(super) const GRANULE: usize = 576;
/// Samples before a granule that its first band samples reach back to.
pub(super) const REACH: usize = 512 - 32;

/// Bands that can have anything: up to 4.25 kHz.
const BANDS: usize = 17;
/// Lines that can have anything.
pub(super) const LINES: usize = BANDS * SLOTS;

/// Band samples of a granule.
const SLOTS: usize = 18;

/// The band samples of the granule before, by band.
#[derive(Debug, Clone, Default)]
pub(super) struct History([[f32; SLOTS]; BANDS]);

/// The filters' coefficients.
#[derive(Debug)]
pub(super) struct Filter {
    window: Box<[f32; 512]>,
    /// By band and time, the cosines of the filter bank. Of 64 times, 32 have others' cosines or their opposite.
    bank: Box<[[f32; 32]; BANDS]>,
    /// By line and time, window and cosines of the transform.
    transform: Box<[[f32; 40]; SLOTS]>,
    /// The eight butterflies' coefficients.
    butterflies: [(f32, f32); 8],
}

impl Filter {
    pub(super) fn new() -> Self {
        let mut window = Box::new([0.0; 512]);
        for (n, value) in window.iter_mut().enumerate() {
            // Samples are within ±32,768, lines within ±1.
            *value = tables::window(n) / 32.0 / 32_768.0;
        }
        let mut bank = Box::new([[0.0; 32]; BANDS]);
        for (band, row) in bank.iter_mut().enumerate() {
            for (n, value) in row.iter_mut().enumerate() {
                // In doubles, so that what libraries make different of the last bit is rounded away: all machines make the same bytes.
                let angle = (2 * band + 1) * n % 128;
                *value = (angle as f64 * PI / 64.0).cos() as f32;
            }
        }
        let mut transform = Box::new([[0.0; 40]; SLOTS]);
        for (line, row) in transform.iter_mut().enumerate() {
            for (n, value) in row[..2 * SLOTS].iter_mut().enumerate() {
                let window = (PI / 36.0 * (n as f64 + 0.5)).sin();
                let angle = (2 * n + 19) * (2 * line + 1) % 144;
                *value = (window * (angle as f64 * PI / 72.0).cos() / 9.0) as f32;
            }
        }
        let butterflies = [-0.6f32, -0.535, -0.33, -0.185, -0.095, -0.041, -0.0142, -0.0037].map(|c| {
            let length = (1.0 + c * c).sqrt();
            (1.0 / length, c / length)
        });
        Self { window, bank, transform, butterflies }
    }

    /// Takes a granule of samples with the [`REACH`] before them, and gives its lines, which overlap with the granule taken before.
    pub(super) fn analyse(&self, samples: &[i16], history: &mut History, lines: Option<&mut [f32; GRANULE]>) {
        let mut bands = [[0.0; SLOTS]; BANDS];
        if samples.iter().any(|&sample| sample != 0) {
            self.bands(samples, &mut bands);
        }
        if let Some(lines) = lines {
            self.transform(&history.0, &bands, lines);
        }
        history.0 = bands;
    }

    fn bands(&self, samples: &[i16], bands: &mut [[f32; SLOTS]; BANDS]) {
        // The newest first, as the window has it.
        let mut reversed = [0.0; REACH + GRANULE];
        for (value, sample) in reversed.iter_mut().zip(samples.iter().rev()) {
            *value = f32::from(*sample);
        }
        for slot in 0..SLOTS {
            let taken = &reversed[32 * (SLOTS - 1 - slot)..][..512];
            let mut sums = [0.0; 64];
            for (samples, window) in taken.as_chunks::<64>().0.iter().zip(self.window.as_chunks::<64>().0) {
                for n in 0..64 {
                    sums[n] += samples[n] * window[n];
                }
            }
            // Cosines are even around time 16 and odd around 48, where they are 0.
            let mut folded = [0.0; 32];
            folded[0] = sums[16];
            for n in 1..=16 {
                folded[n] = sums[16 + n] + sums[16 - n];
            }
            for n in 17..32 {
                folded[n] = sums[16 + n] - sums[80 - n];
            }
            for (band, (row, out)) in self.bank.iter().zip(bands.iter_mut()).enumerate() {
                let value = dot(row, &folded);
                // Odd bands lie in reverse.
                out[slot] = if band % 2 == 1 && slot % 2 == 1 { -value } else { value };
            }
        }
    }

    fn transform(&self, before: &[[f32; SLOTS]; BANDS], now: &[[f32; SLOTS]; BANDS], lines: &mut [f32; GRANULE]) {
        lines.fill(0.0);
        let is_silent = |bands: &[[f32; SLOTS]; BANDS]| bands.as_flattened().iter().all(|&value| value == 0.0);
        if is_silent(before) && is_silent(now) {
            return;
        }
        for (band, out) in lines.as_chunks_mut::<SLOTS>().0[..BANDS].iter_mut().enumerate() {
            // Four more, which are 0, let the sum run in whole blocks of 8.
            let mut times = [0.0; 40];
            times[..SLOTS].copy_from_slice(&before[band]);
            times[SLOTS..2 * SLOTS].copy_from_slice(&now[band]);
            for (row, out) in self.transform.iter().zip(out) {
                *out = dot(row, &times);
            }
        }
        for band in 1..BANDS {
            for (n, (cs, ca)) in self.butterflies.iter().enumerate() {
                let (lower, upper) = (band * SLOTS - 1 - n, band * SLOTS + n);
                let (a, b) = (lines[lower], lines[upper]);
                lines[lower] = a * cs + b * ca;
                lines[upper] = b * cs - a * ca;
            }
        }
    }
}

/// The sum of products, in eight sums that the compiler may keep in one register.
fn dot<const N: usize>(a: &[f32; N], b: &[f32; N]) -> f32 {
    let mut sums = [0.0; 8];
    for (a, b) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
        for n in 0..8 {
            sums[n] += a[n] * b[n];
        }
    }
    sums.iter().sum()
}
