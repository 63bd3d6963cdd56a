//! From lines to bits: how finely each band is said, which Huffman tables say it, and how much room that takes (11172-3, annex C 1.5.4).
//!
//! What must stay true: it fits into the bits that are given, whatever the lines are; all is decided by the lines alone.

use super::bits::BitWriter;
use super::filter::{GRANULE, LINES};
use super::tables::{BANDS, QUADS, TABLES};

/// Scale factor bands; the 22nd has no factor.
const FACTORS: usize = 21;
/// Bits of the factors, by band: 6, 5, 5 and 5 bands of up to 4, 4, 3 and 3.
const FACTOR_GROUPS: [(usize, u32); 4] = [(6, 4), (5, 4), (5, 3), (5, 3)];
/// How much finer a weak band is said than a strong one: 0 would let all have the same error, 1 the same distance to the error.
const SHAPING: f32 = 0.4;
/// What rounds up, for the least error under a power of 3/4.
const ROUNDING: f32 = 0.405_4;
/// The greatest value that a table with the most extra bits can say.
const VALUE_MAX: u32 = 15 + 8_191;
/// Greatest number of bits that the side information can say.
const BITS_MAX: usize = 4_095;
/// Finer steps than this are never needed: the quietest mu-law step is far above.
const GAIN_MIN: i32 = 100;
const GAIN_MAX: i32 = 255;

/// One channel's granule.
#[derive(Debug)]
pub(super) struct Granule {
    lines: Box<[f32; GRANULE]>,
    /// The lines' amounts to the power of 3/4, by the bands' factors.
    powers: Box<[f32; GRANULE]>,
    values: Box<[u32; GRANULE]>,
    factors: [u32; FACTORS],
    factor_bits: [u32; 4],
    gain: i32,
    plan: Plan,
}

/// How the values are said.
#[derive(Debug, Clone, Copy, Default)]
struct Plan {
    /// Lines in pairs, from 0 on.
    big: usize,
    /// Where the lines that are 0 or ±1 end; they come in fours after the pairs.
    end: usize,
    /// Where the second and third region of pairs begin, in bands.
    splits: [usize; 2],
    /// Index of each region's table in [`TABLES`], none where all is 0.
    tables: [Option<usize>; 3],
    /// Whether fours are said by table B.
    quads_b: bool,
    /// Bits of it all, without the factors.
    bits: usize,
}

impl Granule {
    pub(super) fn new() -> Self {
        Self {
            lines: Box::new([0.0; GRANULE]),
            powers: Box::new([0.0; GRANULE]),
            values: Box::new([0; GRANULE]),
            factors: [0; FACTORS],
            factor_bits: [0; 4],
            gain: 0,
            plan: Plan::default(),
        }
    }

    pub(super) fn lines(&mut self) -> &mut [f32; GRANULE] {
        &mut self.lines
    }

    /// The sum of the lines' squares.
    pub(super) fn power(&self) -> f32 {
        self.lines.iter().map(|line| line * line).sum()
    }

    /// Decides how the lines are said with at most `bits_max` bits, and returns how many it takes.
    pub(super) fn quantize(&mut self, bits_max: usize) -> usize {
        let bits_max = bits_max.min(BITS_MAX);
        if self.lines.iter().all(|&line| line == 0.0) {
            self.say_nothing();
            return 0;
        }
        self.set_factors();
        let factor_bits: usize =
            FACTOR_GROUPS.iter().zip(&self.factor_bits).map(|((bands, _), bits)| bands * *bits as usize).sum();
        for (band, range) in BANDS.windows(2).enumerate() {
            let factor = self.factors.get(band).copied().unwrap_or(0) as i32;
            let amplified = power_of_two(8 * factor);
            for n in range[0]..range[1].min(LINES) {
                let root = (self.lines[n].abs() * amplified).sqrt();
                self.powers[n] = root * root.sqrt();
            }
        }
        let room = bits_max.saturating_sub(factor_bits);
        // The finest gain that fits: finer ones take more bits, nearly always; the last one that is tried is one that fits.
        let (mut low, mut high) = (GAIN_MIN, GAIN_MAX);
        while low < high {
            let middle = (low + high) / 2;
            if self.fits(middle, room) { high = middle } else { low = middle + 1 }
        }
        self.gain = low;
        self.fits(low, room);
        if self.plan.end == 0 {
            self.say_nothing();
            return 0;
        }
        self.plan.bits + factor_bits
    }

    fn say_nothing(&mut self) {
        self.plan = Plan { splits: [1, 2], ..Plan::default() };
        self.factors = [0; FACTORS];
        self.factor_bits = [0; 4];
        self.gain = GAIN_MIN;
    }

    /// Each band's factor: one for each 3 dB that its error shall be below the greatest one.
    fn set_factors(&mut self) {
        let mut wanted = [f32::NEG_INFINITY; FACTORS];
        for (band, wanted) in wanted.iter_mut().enumerate() {
            let lines = &self.lines[BANDS[band]..BANDS[band + 1]];
            let power = lines.iter().map(|line| line * line).sum::<f32>() / lines.len() as f32;
            // Bands without anything that mu-law could say are left as they are.
            if power > 1e-10 {
                *wanted = logarithm(power) * SHAPING;
            }
        }
        let loudest = wanted.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut band = 0;
        for (group, (bands, bits_max)) in FACTOR_GROUPS.into_iter().enumerate() {
            let greatest = (1u32 << bits_max) - 1;
            let mut most = 0;
            for _ in 0..bands {
                let factor = if wanted[band].is_finite() { (loudest - wanted[band]).round() as u32 } else { 0 };
                self.factors[band] = factor.min(greatest);
                most = most.max(self.factors[band]);
                band += 1;
            }
            self.factor_bits[group] = 32 - most.leading_zeros();
        }
    }

    /// Quantizes with this gain; whether that can be said with `room` bits.
    fn fits(&mut self, gain: i32, room: usize) -> bool {
        let scale = power_of_two(3 * (210 - gain));
        let mut greatest = 0;
        for (value, power) in self.values[..LINES].iter_mut().zip(&self.powers[..LINES]) {
            *value = (power * scale + ROUNDING) as u32;
            greatest = greatest.max(*value);
        }
        if greatest > VALUE_MAX {
            return false;
        }
        self.plan = plan(&self.values);
        self.plan.bits <= room
    }

    pub(super) fn write_side(&self, bits: &mut BitWriter<'_>) {
        let factor_bits: u32 = FACTOR_GROUPS.iter().zip(&self.factor_bits).map(|((n, _), bits)| *n as u32 * bits).sum();
        bits.put(self.plan.bits as u32 + factor_bits, 12);
        bits.put(self.plan.big as u32 / 2, 9);
        bits.put(self.gain as u32, 8);
        let [a, b, c, d] = self.factor_bits;
        bits.put((a * 5 + b) << 4 | c << 2 | d, 9);
        // Long blocks.
        bits.put(0, 1);
        for table in self.plan.tables {
            bits.put(table.map_or(0, |table| u32::from(TABLES[table].number)), 5);
        }
        let [second, third] = self.plan.splits;
        bits.put(second as u32 - 1, 4);
        bits.put((third - second) as u32 - 1, 3);
        // Factors in steps of 3 dB.
        bits.put(0, 1);
        bits.put(u32::from(self.plan.quads_b), 1);
    }

    pub(super) fn write_main(&self, bits: &mut BitWriter<'_>) {
        let mut factors = self.factors.iter();
        for ((bands, _), width) in FACTOR_GROUPS.into_iter().zip(self.factor_bits) {
            for factor in factors.by_ref().take(bands) {
                bits.put(*factor, width);
            }
        }
        let sign = |n: usize| u32::from(self.lines[n] < 0.0);
        let mut start = 0;
        for (region, table) in self.plan.tables.iter().enumerate() {
            let end = self.plan.splits.get(region).map_or(self.plan.big, |&band| BANDS[band].min(self.plan.big));
            if let Some(table) = table.map(|table| &TABLES[table]) {
                for n in (start..end).step_by(2) {
                    let (x, y) = (self.values[n], self.values[n + 1]);
                    let (code, length) = table.code(x.min(15) as usize, y.min(15) as usize);
                    bits.put(code, length);
                    for (n, value) in [(n, x), (n + 1, y)] {
                        if table.extra_bits > 0 && value >= 15 {
                            bits.put(value - 15, table.extra_bits);
                        }
                        if value > 0 {
                            bits.put(sign(n), 1);
                        }
                    }
                }
            }
            start = end.max(start);
        }
        for n in (self.plan.big..self.plan.end).step_by(4) {
            let quad = self.values[n..n + 4].iter().fold(0, |quad, value| quad << 1 | *value as usize);
            let (code, length) = if self.plan.quads_b { (15 - quad as u32, 4) } else { QUADS[quad] };
            bits.put(code, length);
            for n in (n..n + 4).filter(|&n| self.values[n] > 0) {
                bits.put(sign(n), 1);
            }
        }
    }
}

/// Two to the power of `sixteenths / 16`, by operations whose results IEEE 754 lays down: all machines make the same bytes.
fn power_of_two(sixteenths: i32) -> f32 {
    let whole = f32::from_bits(((127 + sixteenths.div_euclid(16)) as u32) << 23);
    let mut power = whole;
    let mut root = 2.0f32;
    for bit in [8, 4, 2, 1] {
        root = root.sqrt();
        if sixteenths.rem_euclid(16) & bit != 0 {
            power *= root;
        }
    }
    power
}

/// About the logarithm to base two of a normal number, to 0.09, and likewise the same on all machines.
fn logarithm(number: f32) -> f32 {
    let bits = number.to_bits();
    ((bits >> 23) as i32 - 127) as f32 + (bits & 0x7f_ffff) as f32 / 8_388_608.0
}

/// The cheapest way to say the values, of the few that are worth a try.
fn plan(values: &[u32; GRANULE]) -> Plan {
    let last = values[..LINES].iter().rposition(|&value| value > 0).map_or(0, |last| last + 1);
    let above_one = values[..last].iter().rposition(|&value| value > 1).map_or(0, |last| last + 1);
    let big = above_one.next_multiple_of(2);
    let mut end = big;
    let (mut a, mut b) = (0, 0);
    // Never beyond the granule, of which the lines from `LINES` on are 0.
    while end < last {
        let quad = &values[end..end + 4];
        let number = quad.iter().fold(0, |quad, value| quad << 1 | *value as usize);
        let signs = quad.iter().sum::<u32>();
        a += QUADS[number].1 + signs;
        b += 4 + signs;
        end += 4;
    }
    let mut plan = Plan { big, end, quads_b: b < a, bits: a.min(b) as usize, ..Plan::default() };
    plan_regions(values, &mut plan);
    plan
}

/// Parts of the bands with pairs that the first two regions end at. All combinations would take ten times the time for 1 % of the bits.
fn plan_regions(values: &[u32; GRANULE], plan: &mut Plan) {
    let bands = BANDS.iter().position(|&start| start >= plan.big).unwrap_or(FACTORS + 1);
    // Cheapest table and its bits for any run of bands is asked for often: most runs share their ends.
    let mut best: Option<(usize, [usize; 2], [Option<usize>; 3])> = None;
    for (first, second) in [(1, 2), (1, 1), (2, 2), (1, 3)] {
        // In eighths of the bands: where the second region begins, and how much more the third.
        let second_begins = (bands * first / 4).clamp(1, 16);
        let third_begins = (second_begins + (bands * second / 4).clamp(1, 8)).min(FACTORS + 1);
        let ends = [BANDS[second_begins].min(plan.big), BANDS[third_begins].min(plan.big), plan.big];
        let (mut bits, mut tables, mut start) = (0, [None; 3], 0);
        for (end, table) in ends.into_iter().zip(&mut tables) {
            let (chosen, cost) = cheapest(&values[start..end]);
            *table = chosen;
            bits += cost;
            start = end;
        }
        if best.is_none_or(|(fewest, ..)| bits < fewest) {
            best = Some((bits, [second_begins, third_begins], tables));
        }
    }
    if let Some((bits, splits, tables)) = best {
        plan.bits += bits;
        plan.splits = splits;
        plan.tables = tables;
    }
}

/// The table that says these pairs with the fewest bits, and how many those are.
fn cheapest(values: &[u32]) -> (Option<usize>, usize) {
    let greatest = values.iter().copied().max().unwrap_or(0);
    if greatest == 0 {
        return (None, 0);
    }
    let signs = values.iter().filter(|&&value| value > 0).count();
    let cost = |index: usize| -> usize {
        let table = &TABLES[index];
        let pairs = values.as_chunks::<2>().0.iter();
        pairs
            .map(|&[x, y]| {
                let extra = if table.extra_bits > 0 { u32::from(x >= 15) + u32::from(y >= 15) } else { 0 };
                (table.code(x.min(15) as usize, y.min(15) as usize).1 + extra * table.extra_bits) as usize
            })
            .sum()
    };
    // By the greatest value: the tables that can say it and no more than they must.
    let candidates: &[usize] = match greatest {
        1 => &[0],
        2 => &[1, 2],
        3 => &[3, 4],
        4..=5 => &[5, 6, 7],
        6..=7 => &[8, 9, 10],
        8..=14 => &[11, 12],
        15 => &[11, 12, 13, 21],
        _ => {
            let bits = 32 - (greatest - 15).leading_zeros();
            // Of either family the one with the fewest extra bits that are enough; the last of both has 13.
            let of = |from: usize| (from..from + 8).find(|&index| TABLES[index].extra_bits >= bits);
            let pair = [of(13).unwrap_or(20), of(21).unwrap_or(28)];
            let costs = pair.map(cost);
            let chosen = usize::from(costs[1] < costs[0]);
            return (Some(pair[chosen]), costs[chosen] + signs);
        }
    };
    let (bits, index) = candidates.iter().map(|&index| (cost(index), index)).min().unwrap_or_default();
    (Some(index), bits + signs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_and_logarithms_are_what_they_say() {
        for sixteenths in -400..=400 {
            let exact = (f64::from(sixteenths) / 16.0).exp2();
            assert!((f64::from(power_of_two(sixteenths)) / exact - 1.0).abs() < 1e-6, "{sixteenths}");
            assert!((logarithm(exact as f32) - sixteenths as f32 / 16.0).abs() < 0.09);
        }
    }

    #[test]
    fn any_lines_fit_into_the_bits_that_are_given() {
        let mut random = 1u32;
        let mut next = || {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            random as i32 as f32 / 2f32.powi(31)
        };
        let mut granule = Granule::new();
        for level in 0..24 {
            for bits_max in [74, 75, 100, 500, 1_336, 2_136, 4_095, 100_000] {
                for (n, line) in granule.lines().iter_mut().enumerate() {
                    let peak = if n % 37 == level % 37 { 4.0 } else { 0.05 };
                    *line = if n < LINES { next() * peak / (level as f32).exp2() } else { 0.0 };
                }
                let bits = granule.quantize(bits_max);
                let (mut side, mut main) = (Vec::new(), Vec::new());
                granule.write_side(&mut BitWriter::new(&mut side));
                let mut writer = BitWriter::new(&mut main);
                granule.write_main(&mut writer);
                assert!(bits <= bits_max.min(BITS_MAX) && writer.bits() == bits, "{level} {bits_max} {bits}");
            }
        }
    }
}
