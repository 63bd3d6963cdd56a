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
    /// By band and time, the cosines of the filter bank.
    bank: Box<[[f32; 64]; BANDS]>,
    /// By line and time, window and cosines of the transform.
    transform: Box<[[f32; 2 * SLOTS]; SLOTS]>,
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
        let mut bank = Box::new([[0.0; 64]; BANDS]);
        for (band, row) in bank.iter_mut().enumerate() {
            for (n, value) in row.iter_mut().enumerate() {
                // In doubles, so that what libraries make different of the last bit is rounded away: all machines make the same bytes.
                let angle = (2 * band as i32 + 1) * (n as i32 - 16);
                *value = (f64::from(angle.rem_euclid(128)) * PI / 64.0).cos() as f32;
            }
        }
        let mut transform = Box::new([[0.0; 2 * SLOTS]; SLOTS]);
        for (line, row) in transform.iter_mut().enumerate() {
            for (n, value) in row.iter_mut().enumerate() {
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
        let mut folded = [0.0; 64];
        for slot in 0..SLOTS {
            let newest = REACH + 32 * slot + 31;
            folded.fill(0.0);
            for part in 0..8 {
                for (n, sum) in folded.iter_mut().enumerate() {
                    let at = 64 * part + n;
                    *sum += self.window[at] * f32::from(samples[newest - at]);
                }
            }
            for (band, (row, out)) in self.bank.iter().zip(&mut bands).enumerate() {
                let mut sums = [0.0f32; 8];
                for (a, b) in row.as_chunks::<8>().0.iter().zip(folded.as_chunks::<8>().0) {
                    for n in 0..8 {
                        sums[n] += a[n] * b[n];
                    }
                }
                let value: f32 = sums.iter().sum();
                // Odd bands lie in reverse.
                out[slot] = if band % 2 == 1 && slot % 2 == 1 { -value } else { value };
            }
        }
        if let Some(lines) = lines {
            self.transform(&history.0, &bands, lines);
        }
        history.0 = bands;
    }

    fn transform(&self, before: &[[f32; SLOTS]; BANDS], now: &[[f32; SLOTS]; BANDS], lines: &mut [f32; GRANULE]) {
        lines.fill(0.0);
        for (band, out) in lines.as_chunks_mut::<SLOTS>().0[..BANDS].iter_mut().enumerate() {
            for (row, out) in self.transform.iter().zip(out) {
                let earlier: f32 = row[..SLOTS].iter().zip(&before[band]).map(|(a, b)| a * b).sum();
                let later: f32 = row[SLOTS..].iter().zip(&now[band]).map(|(a, b)| a * b).sum();
                *out = earlier + later;
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
