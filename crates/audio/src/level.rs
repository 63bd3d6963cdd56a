//! How loud audio is, in dB relative to full scale: a square wave of the greatest amplitude has 0 dBFS, a sine -3 dBFS.

/// What digital silence is reported as, and the least that is ever reported: below the quietest sample that 16 bits can hold.
pub const SILENCE_DBFS: f32 = -96.0;

/// Root mean square of `samples` in dBFS, -96 to 0; silence for no samples.
pub fn rms_dbfs(samples: &[i16]) -> f32 {
    if samples.is_empty() {
        return SILENCE_DBFS;
    }
    dbfs_of_mean_square(mean_square(samples))
}

/// Greatest absolute sample in dBFS, -96 to 0.
pub fn peak_dbfs(samples: &[i16]) -> f32 {
    to_dbfs(f32::from(samples.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0)))
}

/// Mean of the squared samples, 0 to 2³⁰; 0 for no samples.
pub(crate) fn mean_square(samples: &[i16]) -> f32 {
    // In integers, because the compiler may vectorise those sums and not those of floats. 64 bits hold 2³⁴ of the loudest samples.
    let sum: u64 = samples.iter().map(|&sample| u64::from((i32::from(sample) * i32::from(sample)) as u32)).sum();
    sum as f32 / samples.len().max(1) as f32
}

/// The level of a mean square, in dBFS.
pub(crate) fn dbfs_of_mean_square(mean_square: f32) -> f32 {
    to_dbfs(mean_square.sqrt())
}

fn to_dbfs(amplitude: f32) -> f32 {
    if amplitude < 0.5 { SILENCE_DBFS } else { (20.0 * (amplitude / 32_768.0).log10()).clamp(SILENCE_DBFS, 0.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_wave_of_full_scale_is_0_dbfs_and_half_of_it_6_less() {
        assert_eq!(rms_dbfs(&[i16::MIN; 100]), 0.0);
        assert!((rms_dbfs(&[16_384, -16_384]) + 6.02).abs() < 0.01);
        assert!((peak_dbfs(&[0, -16_384, 3]) + 6.02).abs() < 0.01);
    }

    #[test]
    fn a_sine_is_3_db_below_its_peak() {
        let sine: Vec<i16> = (0..8_000).map(|n| (20_000.0 * (n as f32 * 0.3).sin()) as i16).collect();
        assert!((peak_dbfs(&sine) - rms_dbfs(&sine) - 3.01).abs() < 0.05);
    }

    #[test]
    fn silence_and_nothing_are_the_least() {
        assert_eq!(rms_dbfs(&[]), SILENCE_DBFS);
        assert_eq!(rms_dbfs(&[0; 160]), SILENCE_DBFS);
        assert_eq!(peak_dbfs(&[]), SILENCE_DBFS);
    }
}
