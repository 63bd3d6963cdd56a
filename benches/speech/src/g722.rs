//! A decoder of ITU-T G.722 at 64 kbit/s: sub-band ADPCM, 16 kHz out. Only used to read the 16 kHz recordings.
//!
//! Follows the names and block numbers of the recommendation. What must stay true: two samples for each byte.

/// Quantizer multipliers and adaptation of the lower band (6 bits, 4 of them used for prediction).
const WL: [i32; 8] = [-60, -30, 58, 172, 334, 538, 1198, 3042];
const RL42: [usize; 16] = [0, 7, 6, 5, 4, 3, 2, 1, 7, 6, 5, 4, 3, 2, 1, 0];
const ILB: [i32; 32] = [
    2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834, 2896, 2960, 3025,
    3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008,
];
const QM4: [i32; 16] =
    [0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584, 1200, 0];
const QM6: [i32; 64] = [
    -136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232, -9360, -8576,
    -7856, -7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032, -1688, -1360, -1040,
    -728, 24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456,
    4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136,
];
/// The same of the upper band (2 bits).
const QM2: [i32; 4] = [-7408, -1616, 7408, 1616];
const WH: [i32; 3] = [0, -214, 798];
const RH2: [usize; 4] = [2, 1, 2, 1];
/// Half of the receiving filter's 24 symmetric taps.
const QMF: [i32; 12] = [3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11];

fn saturate(value: i32) -> i32 {
    value.clamp(-32768, 32767)
}

/// The predictor of one band.
#[derive(Default)]
struct Band {
    s: i32,
    sp: i32,
    sz: i32,
    r: [i32; 3],
    a: [i32; 3],
    p: [i32; 3],
    d: [i32; 7],
    b: [i32; 7],
    nb: i32,
    det: i32,
}

impl Band {
    fn adapt(&mut self, d: i32) {
        self.d[0] = d;
        self.r[0] = saturate(self.s + d);
        self.p[0] = saturate(self.sz + d);
        let sign = |value: i32| value >> 15;
        let same = sign(self.p[0]) == sign(self.p[1]);
        // Second pole coefficient.
        let first = saturate(self.a[1] << 2);
        let first = if same { -first } else { first }.min(32767);
        let mut second = first >> 7;
        second += if sign(self.p[0]) == sign(self.p[2]) { 128 } else { -128 };
        second += (self.a[2] * 32512) >> 15;
        let second = second.clamp(-12288, 12288);
        // First pole coefficient, bounded by the second.
        let step = if same { 192 } else { -192 };
        let bound = saturate(15360 - second);
        let first = saturate(step + ((self.a[1] * 32640) >> 15)).clamp(-bound, bound);
        // Zero coefficients.
        let step = if d == 0 { 0 } else { 128 };
        let mut zeros = [0; 7];
        for (at, zero) in zeros.iter_mut().enumerate().skip(1) {
            let step = if sign(self.d[at]) == sign(d) { step } else { -step };
            *zero = saturate(step + ((self.b[at] * 32640) >> 15));
        }
        for at in (1..7).rev() {
            self.d[at] = self.d[at - 1];
        }
        self.b = zeros;
        self.r = [0, self.r[0], self.r[1]];
        self.p = [0, self.p[0], self.p[1]];
        self.a = [0, first, second];
        // The next prediction.
        let poles = [1, 2].map(|at| (self.a[at] * saturate(self.r[at] + self.r[at])) >> 15);
        self.sp = saturate(poles[0] + poles[1]);
        let zeros: i32 = (1..7).map(|at| (self.b[at] * saturate(self.d[at] + self.d[at])) >> 15).sum();
        self.sz = saturate(zeros);
        self.s = saturate(self.sp + self.sz);
    }

    fn scale(&mut self, change: i32, most: i32, offset: i32) {
        self.nb = (((self.nb * 127) >> 7) + change).clamp(0, most);
        let table = ILB[((self.nb >> 6) & 31) as usize];
        let shift = offset - (self.nb >> 11);
        self.det = if shift < 0 { table << -shift } else { table >> shift } << 2;
    }
}

/// Decodes a file's bytes.
pub(crate) fn decode(bytes: &[u8]) -> Vec<i16> {
    let mut low = Band { det: 32, ..Band::default() };
    let mut high = Band { det: 8, ..Band::default() };
    let mut history = [0i32; 24];
    let mut output = Vec::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let code = usize::from(byte & 0x3f);
        let upper = usize::from(byte >> 6);
        let rlow = (low.s + ((low.det * QM6[code]) >> 15)).clamp(-16384, 16383);
        let four = code >> 2;
        let dlow = (low.det * QM4[four]) >> 15;
        low.scale(WL[RL42[four]], 18432, 8);
        low.adapt(dlow);
        let dhigh = (high.det * QM2[upper]) >> 15;
        let rhigh = (dhigh + high.s).clamp(-16384, 16383);
        high.scale(WH[RH2[upper]], 22528, 10);
        high.adapt(dhigh);
        history.copy_within(2.., 0);
        history[22] = rlow + rhigh;
        history[23] = rlow - rhigh;
        let (mut odd, mut even) = (0, 0);
        for (at, tap) in QMF.iter().enumerate() {
            even += history[2 * at] * tap;
            odd += history[2 * at + 1] * QMF[11 - at];
        }
        output.push(saturate(odd >> 11) as i16);
        output.push(saturate(even >> 11) as i16);
    }
    output
}
