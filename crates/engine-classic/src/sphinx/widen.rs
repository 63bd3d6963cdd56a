//! The network that gives telephone audio back the cepstra it would have had before the telephone cut it off at 4 kHz.
//!
//! It sees the logarithms of the mel energies below 3.9 kHz, without their running mean, of nine frames; and says the middle frame's
//! wide-band cepstrum, without its mean. Trained by `benches/speech` on recordings of other voices and languages than it is measured on.
//!
//! What must stay true: the weights' file is read by this module and written by it, and nothing else knows its layout; what comes out at a frame
//! depends on no more than [`CONTEXT`] frames after it.

use super::SphinxError;
use super::front::{CEPSTRA, FILTERS, LogMel};
use super::mean::RunningMean;

/// Mel filters that lie below the telephone's upper edge.
pub const BANDS: usize = 19;
/// Frames on either side of the one in question.
pub const CONTEXT: usize = 4;
/// Numbers that the network sees.
pub const INPUTS: usize = BANDS * (2 * CONTEXT + 1);
/// Energy that is added to each filter, as the noise of a quiet line: it makes digital silence look like silence. In units of the front
/// end's energies.
const NOISE: f32 = 150.0;
/// How many frames the usual mean counts as.
const USUAL_FRAMES: f32 = 100.0;
/// Marks the file and its version.
const MAGIC: &[u8; 8] = b"kgwiden1";

/// Mel energies of one frame below the telephone's edge.
pub type Bands = [f32; BANDS];

/// The energies on a quiet line instead of in digital silence.
pub fn with_noise(energies: &LogMel) -> LogMel {
    energies.map(|energy| (energy.exp() + NOISE).ln())
}

/// The network's view of a frame: its bands, and how loud it is.
pub fn bands(energies: &LogMel) -> (Bands, f32) {
    let noisy = with_noise(energies);
    let bands: Bands = std::array::from_fn(|at| noisy[at]);
    let level = bands.iter().sum::<f32>() / BANDS as f32;
    (bands, level)
}

/// A running mean of bands that starts from `usual`.
pub fn running_mean<const N: usize>(usual: &[f32; N]) -> RunningMean<N> {
    RunningMean::new(usual, USUAL_FRAMES)
}

/// A layer: every output is a weighted sum of all inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Number of inputs.
    pub inputs: usize,
    /// `inputs` weights for each output, then its bias.
    pub weights: Vec<f32>,
}

/// The weights, and the usual mean of its inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// Mean of the bands over the training speech.
    pub usual: Bands,
    /// Each but the last is followed by a rectifier.
    pub layers: Vec<Layer>,
}

impl Layer {
    /// How many outputs it has.
    pub fn outputs(&self) -> usize {
        self.weights.len() / (self.inputs + 1)
    }

    fn apply(&self, input: &[f32], output: &mut Vec<f32>) {
        output.clear();
        output.extend(self.weights.chunks_exact(self.inputs + 1).map(|row| {
            // Four sums at once, so that the compiler may use vectors.
            let (weights, bias) = row.split_at(self.inputs);
            let mut sums = [0f32; 8];
            let (weight_blocks, weight_rest) = weights.as_chunks::<8>();
            let (input_blocks, input_rest) = input.as_chunks::<8>();
            for (weights, inputs) in weight_blocks.iter().zip(input_blocks) {
                for at in 0..8 {
                    sums[at] += weights[at] * inputs[at];
                }
            }
            let rest: f32 = weight_rest.iter().zip(input_rest).map(|(weight, input)| weight * input).sum();
            sums.iter().sum::<f32>() + rest + bias[0]
        }));
    }
}

impl Network {
    /// The cepstrum of the middle frame of [`INPUTS`] numbers, oldest frame first.
    pub fn cepstrum(&self, input: &[f32]) -> [f32; CEPSTRA] {
        let mut from = input.to_vec();
        let mut to = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            layer.apply(&from, &mut to);
            if index + 1 < self.layers.len() {
                to.iter_mut().for_each(|value| *value = value.max(0.0));
            }
            std::mem::swap(&mut from, &mut to);
        }
        std::array::from_fn(|at| from.get(at).copied().unwrap_or(0.0))
    }

    /// The file's bytes: half-precision numbers, little endian.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.push(self.layers.len() as u8);
        for layer in &self.layers {
            bytes.extend((layer.inputs as u16).to_le_bytes());
            bytes.extend((layer.outputs() as u16).to_le_bytes());
        }
        for value in self.usual.iter().chain(self.layers.iter().flat_map(|layer| &layer.weights)) {
            bytes.extend(to_half(*value).to_le_bytes());
        }
        bytes
    }

    /// Reads a file's bytes.
    ///
    /// # Errors
    /// They aren't such a file.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SphinxError> {
        Self::parse(bytes).ok_or(SphinxError::Decoder("the network's weights are broken"))
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(MAGIC)?;
        let (count, rest) = rest.split_first()?;
        let (shapes, rest) = rest.split_at_checked(usize::from(*count) * 4)?;
        let mut numbers = rest.as_chunks::<2>().0.iter().map(|pair| from_half(u16::from_le_bytes(*pair)));
        let mut usual = [0.0; BANDS];
        for value in &mut usual {
            *value = numbers.next()?;
        }
        let mut layers = Vec::new();
        let mut expected = INPUTS;
        for shape in shapes.as_chunks::<4>().0 {
            let inputs = usize::from(u16::from_le_bytes([shape[0], shape[1]]));
            let outputs = usize::from(u16::from_le_bytes([shape[2], shape[3]]));
            let weights: Vec<f32> = numbers.by_ref().take((inputs + 1) * outputs).collect();
            if inputs != expected || weights.len() != (inputs + 1) * outputs {
                return None;
            }
            expected = outputs;
            layers.push(Layer { inputs, weights });
        }
        (expected == CEPSTRA && numbers.next().is_none()).then_some(Network { usual, layers })
    }
}

/// To IEEE 754 half precision, rounded to nearest; what is too large becomes the largest, what is too small zero.
fn to_half(value: f32) -> u16 {
    let bits = value.to_bits();
    let sign = ((bits >> 16) & 0x8000) as u16;
    let rounded = (bits & 0x7fff_ffff) + 0x1000;
    let exponent = (rounded >> 23) as i32 - 127 + 15;
    match exponent {
        ..=0 => sign,
        31.. => sign | 0x7bff,
        _ => sign | ((exponent as u16) << 10) | ((rounded >> 13) & 0x3ff) as u16,
    }
}

fn from_half(half: u16) -> f32 {
    let sign = if half & 0x8000 == 0 { 1.0 } else { -1.0 };
    let exponent = i32::from((half >> 10) & 31);
    let fraction = f32::from(half & 0x3ff) / 1024.0;
    match exponent {
        0 => sign * fraction * 2f32.powi(-14),
        31 => 0.0,
        _ => sign * (1.0 + fraction) * 2f32.powi(exponent - 15),
    }
}

/// Frames of mel energies to cepstra, [`CONTEXT`] frames later.
#[derive(Debug, Clone)]
pub struct Widener {
    network: Network,
    mean: RunningMean<BANDS>,
    /// The bands of up to `2 * CONTEXT + 1` frames, oldest first.
    window: Vec<Bands>,
    /// Frames of this utterance that have no cepstrum yet.
    waiting: usize,
}

impl Widener {
    /// With a network; the speaker isn't known yet.
    pub fn new(network: Network) -> Self {
        let mean = running_mean(&network.usual);
        Widener { network, mean, window: Vec::new(), waiting: 0 }
    }

    /// Starts an utterance of the same speaker.
    pub fn begin(&mut self) {
        self.window.clear();
        self.waiting = 0;
    }

    /// Takes a frame; gives the cepstrum of an earlier one when its context is complete.
    pub fn push(&mut self, energies: &LogMel) -> Option<[f32; CEPSTRA]> {
        let (bands, level) = bands(energies);
        self.mean.add(&bands, level);
        let bands = self.mean.without(&bands);
        if self.window.is_empty() {
            // What was before the first frame was like it.
            self.window = vec![bands; CONTEXT];
        }
        self.waiting += 1;
        self.advance(bands)
    }

    /// Gives the cepstra of the frames that still wait for what comes after them.
    pub fn finish(&mut self) -> Vec<[f32; CEPSTRA]> {
        let Some(last) = self.window.last().copied() else { return Vec::new() };
        let mut cepstra = Vec::new();
        while self.waiting > 0 {
            cepstra.extend(self.advance(last));
        }
        cepstra
    }

    fn advance(&mut self, bands: Bands) -> Option<[f32; CEPSTRA]> {
        self.window.push(bands);
        if self.window.len() > 2 * CONTEXT + 1 {
            self.window.remove(0);
        }
        if self.window.len() < 2 * CONTEXT + 1 {
            return None;
        }
        self.waiting = self.waiting.saturating_sub(1);
        Some(self.network.cepstrum(self.window.as_flattened()))
    }
}

const _: () = assert!(BANDS < FILTERS);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn small() -> Network {
        let weights = (0..CEPSTRA * (INPUTS + 1)).map(|at| (at as f32 * 0.37).sin() * 0.05).collect();
        Network { usual: [12.0; BANDS], layers: vec![Layer { inputs: INPUTS, weights }] }
    }

    #[test]
    fn every_frame_gets_its_cepstrum() {
        let mut widener = Widener::new(small());
        for frames in [0, 1, 3, 20] {
            widener.begin();
            let now = (0..frames).filter_map(|at| widener.push(&[at as f32; FILTERS])).count();
            assert_eq!(now, frames.max(CONTEXT) - CONTEXT);
            assert_eq!(now + widener.finish().len(), frames);
        }
    }

    #[test]
    fn weights_survive_the_file() {
        let network = small();
        let read = Network::from_bytes(&network.to_bytes()).unwrap();
        let pairs = read.layers[0].weights.iter().zip(&network.layers[0].weights);
        assert!(pairs.clone().count() > 0 && pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-4));
    }

    proptest! {
        #[test]
        fn half_precision_is_near(value in -60_000f32..60_000.0) {
            prop_assert!((from_half(to_half(value)) - value).abs() <= value.abs() / 1024.0 + 1e-4);
        }

        #[test]
        fn any_bytes_are_weights_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut file = MAGIC.to_vec();
            file.extend(bytes);
            _ = Network::from_bytes(&file);
        }
    }
}
