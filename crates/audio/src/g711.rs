//! G.711: the two logarithmic 8-bit codes of telephony, mu-law and A-law.
//!
//! Samples are linear PCM of 16 bits; mu-law uses the upper 14 of them and A-law the upper 13, as ITU-T G.711 lays down (negative
//! numbers by one's complement, so that both signs round alike). Decoding is one table look-up, encoding a handful of operations.
//! What must stay true: every code and every sample gives exactly the value of the recommendation's tables; the tests walk all
//! 65,536 samples through the tables' decision values.

/// The mu-law code of silence.
pub const MULAW_SILENCE: u8 = 0xff;
/// The A-law code of silence.
pub const ALAW_SILENCE: u8 = 0xd5;

static MULAW_DECODED: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = decode_mulaw(code as u8);
        code += 1;
    }
    table
};

static ALAW_DECODED: [i16; 256] = {
    let mut table = [0; 256];
    let mut code = 0;
    while code < 256 {
        table[code] = decode_alaw(code as u8);
        code += 1;
    }
    table
};

const fn decode_mulaw(code: u8) -> i16 {
    let bits = !code;
    let segment = (bits >> 4) & 7;
    let magnitude = (((((bits & 15) as i16) << 1) + 33) << segment) - 33;
    // From 14 bits to 16.
    if bits & 0x80 != 0 { -(magnitude << 2) } else { magnitude << 2 }
}

const fn decode_alaw(code: u8) -> i16 {
    let bits = code ^ 0x55;
    let segment = (bits >> 4) & 7;
    let step = (((bits & 15) as i16) << 1) + 1;
    let magnitude = if segment == 0 { step } else { (step + 32) << (segment - 1) };
    // From 13 bits to 16; in A-law the sign bit marks what is not negative.
    if bits & 0x80 != 0 { magnitude << 3 } else { -(magnitude << 3) }
}

/// The sample that a mu-law code stands for.
#[inline]
pub fn mulaw_to_linear(code: u8) -> i16 {
    MULAW_DECODED[code as usize]
}

/// The sample that an A-law code stands for.
#[inline]
pub fn alaw_to_linear(code: u8) -> i16 {
    ALAW_DECODED[code as usize]
}

/// The mu-law code of a sample; louder than the code can say becomes its loudest.
#[inline]
pub fn linear_to_mulaw(sample: i16) -> u8 {
    let sign = (sample >> 8) as u8 & 0x80;
    let magnitude = u32::from((sample ^ (sample >> 15)) as u16);
    let biased = ((magnitude >> 2) + 33).min(0x1fff);
    let segment = 26 - biased.leading_zeros();
    let step = (biased >> (segment + 1)) & 15;
    !(sign | (segment << 4) as u8 | step as u8)
}

/// The A-law code of a sample.
#[inline]
pub fn linear_to_alaw(sample: i16) -> u8 {
    let sign = !(sample >> 8) as u8 & 0x80;
    let magnitude = u32::from((sample ^ (sample >> 15)) as u16) >> 4;
    // The first two segments have the same step; `| 16` keeps the first from going below 0.
    let segment = 27 - (magnitude | 16).leading_zeros();
    let step = (magnitude >> segment) & 15;
    let segment = if magnitude < 16 { 0 } else { segment + 1 };
    (sign | (segment << 4) as u8 | step as u8) ^ 0x55
}

/// Appends the samples of mu-law `codes` to `samples`.
pub fn decode_mulaw_into(codes: &[u8], samples: &mut Vec<i16>) {
    samples.extend(codes.iter().map(|&code| mulaw_to_linear(code)));
}

/// Appends the samples of A-law `codes` to `samples`.
pub fn decode_alaw_into(codes: &[u8], samples: &mut Vec<i16>) {
    samples.extend(codes.iter().map(|&code| alaw_to_linear(code)));
}

/// Appends the mu-law codes of `samples` to `codes`.
pub fn encode_mulaw_into(samples: &[i16], codes: &mut Vec<u8>) {
    codes.extend(samples.iter().map(|&sample| linear_to_mulaw(sample)));
}

/// Appends the A-law codes of `samples` to `codes`.
pub fn encode_alaw_into(samples: &[i16], codes: &mut Vec<u8>) {
    codes.extend(samples.iter().map(|&sample| linear_to_alaw(sample)));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where each code's interval begins: G.711's decision values, from the lengths of its segments.
    fn decision_values(first: &[u32], segments: &[(usize, u32)]) -> Vec<u32> {
        let mut values = first.to_vec();
        for &(count, step) in segments {
            for _ in 0..count {
                values.push(values.last().unwrap() + step);
            }
        }
        values
    }

    #[test]
    fn every_sample_gets_the_mulaw_code_of_the_recommendations_table_2() {
        let segments: Vec<_> = (1..=8).map(|n| (if n == 1 { 15 } else { 16 }, 1 << n)).collect();
        let decisions = decision_values(&[0, 1], &segments);
        assert_eq!(decisions.last(), Some(&8159));
        for sample in i16::MIN..=i16::MAX {
            let magnitude = u32::from(if sample < 0 { !sample } else { sample } as u16) >> 2;
            let interval = decisions.partition_point(|&d| d <= magnitude) - 1;
            let expected = if sample < 0 { 0x7f } else { 0xff } - interval.min(127) as u8;
            assert_eq!(linear_to_mulaw(sample), expected, "{sample}");
        }
    }

    #[test]
    fn every_sample_gets_the_alaw_code_of_the_recommendations_table_1() {
        let segments: Vec<_> = (1..=7).map(|n| (if n == 1 { 32 } else { 16 }, 1 << n)).collect();
        let decisions = decision_values(&[0], &segments);
        assert_eq!(decisions.last(), Some(&4096));
        for sample in i16::MIN..=i16::MAX {
            let magnitude = u32::from(if sample < 0 { !sample } else { sample } as u16) >> 3;
            let interval = (decisions.partition_point(|&d| d <= magnitude) - 1).min(127) as u8;
            let expected = (interval | if sample < 0 { 0 } else { 0x80 }) ^ 0x55;
            assert_eq!(linear_to_alaw(sample), expected, "{sample}");
        }
    }

    #[test]
    fn every_code_survives_decoding_and_encoding() {
        for code in 0..=255 {
            // Mu-law has two zeros; the negative one comes back as the positive one.
            let expected = if code == 0x7f { MULAW_SILENCE } else { code };
            assert_eq!(linear_to_mulaw(mulaw_to_linear(code)), expected, "mu-law {code:#x}");
            assert_eq!(linear_to_alaw(alaw_to_linear(code)), code, "A-law {code:#x}");
        }
    }

    #[test]
    fn well_known_codes() {
        let mulaw =
            [(0xff, 0), (0x7f, 0), (0x80, 32124), (0x00, -32124), (0xfe, 8), (0x7e, -8), (0xef, 132), (0x8f, 16764)];
        for (code, sample) in mulaw {
            assert_eq!(mulaw_to_linear(code), sample, "mu-law {code:#x}");
        }
        for (code, sample) in [(0xd5, 8), (0x55, -8), (0xaa, 32256), (0x2a, -32256), (0xc5, 264), (0x80, 5504)] {
            assert_eq!(alaw_to_linear(code), sample, "A-law {code:#x}");
        }
        assert_eq!(linear_to_mulaw(0), MULAW_SILENCE);
        assert_eq!(linear_to_alaw(0), ALAW_SILENCE);
    }

    #[test]
    fn slices_are_appended() {
        let (mut samples, mut codes) = (vec![1], vec![2]);
        decode_mulaw_into(&[0xff, 0x80], &mut samples);
        decode_alaw_into(&[0xd5], &mut samples);
        assert_eq!(samples, [1, 0, 32124, 8]);
        encode_mulaw_into(&samples[2..3], &mut codes);
        encode_alaw_into(&samples[3..], &mut codes);
        assert_eq!(codes, [2, 0x80, 0xd5]);
    }
}
