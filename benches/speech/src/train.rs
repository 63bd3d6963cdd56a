//! Trains the network of `sphinx::widen` on recordings that exist both at 8 and at 16 kHz.
//!
//! What must stay true: the same machine gives the same weights from the same recordings (one seed, one thread); English and Spanish
//! recordings, which the tables measure, are never seen.

use kallglot_engine_classic::sphinx::front::{CEPSTRA, Cosines, Front, Upsampler};
use kallglot_engine_classic::sphinx::mean::RunningMean;
use kallglot_engine_classic::sphinx::widen::{self, BANDS, Bands, CONTEXT, INPUTS, Layer, Network};

use crate::prompts::{self, Prompt};

/// Languages whose recordings are used: other voices and other words than those that are measured.
pub(crate) const LANGUAGES: [&str; 3] = ["fr", "it", "ru"];
/// Outputs of the inner layers.
const HIDDEN: [usize; 2] = [128, 96];
/// More of them fit the training voices better and others worse: 12 made English 3 points worse than 4.
const EPOCHS: usize = 4;
const BATCH: usize = 128;
/// Every so many recordings the speaker is forgotten, so that the network sees young means too.
const CALL: usize = 12;

/// A small fast random number generator (xorshift64*), so that training depends on nothing outside.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 33) as usize % limit
    }

    /// Between -1 and 1.
    fn signed(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}

/// One recording: what the network may see and what it should say, frame by frame.
struct Pair {
    /// The cepstra of the telephone audio as it is, for its usual mean.
    narrow: Vec<([f32; CEPSTRA], f32)>,
    bands: Vec<(Bands, f32)>,
    wide: Vec<([f32; CEPSTRA], f32)>,
}

fn read(prompt: &Prompt, cosines: &Cosines) -> Result<Pair, String> {
    let mut narrow = Vec::new();
    Upsampler::new().push(&prompt.telephone()?, &mut narrow);
    let (mut narrow_energies, mut wide_energies) = (Vec::new(), Vec::new());
    Front::new().push(&narrow, &mut narrow_energies);
    Front::new().push(&prompt.wide()?, &mut wide_energies);
    let frames = narrow_energies.len().min(wide_energies.len());
    Ok(Pair {
        narrow: narrow_energies[..frames]
            .iter()
            .map(|energies| (cosines.cepstrum(energies), widen::bands(energies).1))
            .collect(),
        bands: narrow_energies[..frames].iter().map(widen::bands).collect(),
        wide: wide_energies[..frames]
            .iter()
            .map(|energies| {
                let quiet = widen::with_noise(energies);
                (cosines.cepstrum(&quiet), quiet.iter().sum::<f32>() / quiet.len() as f32)
            })
            .collect(),
    })
}

/// All frames, their means taken away as in a call.
#[derive(Default)]
struct Frames {
    bands: Vec<Bands>,
    targets: Vec<[f32; CEPSTRA]>,
    /// Frames that have their whole context within one recording.
    usable: Vec<usize>,
}

/// The usual means of speech frames.
fn usual(languages: &[Vec<Pair>]) -> (Bands, [f32; CEPSTRA]) {
    let mut bands = RunningMean::new(&[0.0; BANDS], 0.0);
    let mut cepstra = RunningMean::new(&[0.0; CEPSTRA], 0.0);
    bands.remember_all();
    cepstra.remember_all();
    for pair in languages.iter().flatten() {
        pair.bands.iter().for_each(|(frame, level)| bands.add(frame, *level));
        pair.wide.iter().for_each(|(frame, level)| cepstra.add(frame, *level));
    }
    (bands.value(), cepstra.value())
}

fn frames(languages: &[Vec<Pair>], usual: &(Bands, [f32; CEPSTRA]), random: &mut Random) -> Frames {
    let mut frames = Frames::default();
    for pairs in languages {
        let mut order: Vec<usize> = (0..pairs.len()).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, random.below(at + 1));
        }
        for call in order.chunks(CALL) {
            let mut bands_mean = widen::running_mean(&usual.0);
            let mut wide_mean = widen::running_mean(&usual.1);
            for index in call {
                let pair = &pairs[*index];
                let first = frames.bands.len();
                for ((bands, level), (wide, wide_level)) in pair.bands.iter().zip(&pair.wide) {
                    bands_mean.add(bands, *level);
                    wide_mean.add(wide, *wide_level);
                    frames.bands.push(bands_mean.without(bands));
                    frames.targets.push(wide_mean.without(wide));
                }
                frames.usable.extend(first + CONTEXT..frames.bands.len().saturating_sub(CONTEXT).max(first + CONTEXT));
            }
        }
    }
    frames
}

/// A layer in training: weights by input (so that the inner loops run over outputs), with Adam's moments.
struct Learning {
    inputs: usize,
    outputs: usize,
    weights: Vec<f32>,
    gradient: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
}

impl Learning {
    fn new(inputs: usize, outputs: usize, random: &mut Random) -> Self {
        let size = (inputs + 1) * outputs;
        let scale = (3.0 * 2.0 / inputs as f32).sqrt();
        let mut weights: Vec<f32> = (0..size).map(|_| random.signed() * scale).collect();
        weights[inputs * outputs..].fill(0.0);
        Learning {
            inputs,
            outputs,
            weights,
            gradient: vec![0.0; size],
            first: vec![0.0; size],
            second: vec![0.0; size],
        }
    }

    fn forward(&self, input: &[f32], output: &mut Vec<f32>) {
        output.clear();
        let (weights, bias) = self.weights.split_at(self.inputs * self.outputs);
        for row in input.chunks_exact(self.inputs) {
            let start = output.len();
            output.extend_from_slice(bias);
            let output = &mut output[start..];
            for (value, weights) in row.iter().zip(weights.chunks_exact(self.outputs)) {
                if *value != 0.0 {
                    output.iter_mut().zip(weights).for_each(|(output, weight)| *output += value * weight);
                }
            }
        }
    }

    /// Adds to the gradient; gives the error at the inputs.
    fn backward(&mut self, input: &[f32], error: &[f32], at_input: Option<&mut Vec<f32>>) {
        let split = self.inputs * self.outputs;
        let (gradient, bias) = self.gradient.split_at_mut(split);
        for (row, error) in input.chunks_exact(self.inputs).zip(error.chunks_exact(self.outputs)) {
            for (value, gradient) in row.iter().zip(gradient.chunks_exact_mut(self.outputs)) {
                if *value != 0.0 {
                    gradient.iter_mut().zip(error).for_each(|(gradient, error)| *gradient += value * error);
                }
            }
            bias.iter_mut().zip(error).for_each(|(bias, error)| *bias += error);
        }
        if let Some(at_input) = at_input {
            at_input.clear();
            for error in error.chunks_exact(self.outputs) {
                at_input.extend(self.weights[..split].chunks_exact(self.outputs).map(|weights| {
                    let mut sums = [0f32; 8];
                    for (weights, errors) in weights.as_chunks::<8>().0.iter().zip(error.as_chunks::<8>().0) {
                        for at in 0..8 {
                            sums[at] += weights[at] * errors[at];
                        }
                    }
                    let rest: f32 =
                        weights.as_chunks::<8>().1.iter().zip(error.as_chunks::<8>().1).map(|(w, e)| w * e).sum();
                    sums.iter().sum::<f32>() + rest
                }));
            }
        }
    }

    /// Adam's step; forgets the gradient.
    fn step(&mut self, rate: f32, steps: i32) {
        let (one, two) = (1.0 - 0.9f32.powi(steps), 1.0 - 0.999f32.powi(steps));
        for at in 0..self.weights.len() {
            let gradient = self.gradient[at];
            self.first[at] += 0.1 * (gradient - self.first[at]);
            self.second[at] += 0.001 * (gradient * gradient - self.second[at]);
            self.weights[at] -= rate * (self.first[at] / one) / ((self.second[at] / two).sqrt() + 1e-8);
            self.gradient[at] = 0.0;
        }
    }
}

/// What training gives.
pub(crate) struct Trained {
    /// The network.
    pub(crate) network: Network,
    /// Mean of the cepstra of telephone speech.
    pub(crate) telephone_mean: [f32; CEPSTRA],
}

/// Trains the network, and finds the usual mean of telephone speech, for those who don't use it.
pub(crate) fn train() -> Result<Trained, String> {
    let cosines = Cosines::new();
    let mut languages = Vec::new();
    for language in LANGUAGES {
        let pairs = prompts::pairs(language);
        if pairs.is_empty() {
            return Err(format!(
                "apt-get install asterisk-core-sounds-{language}-wav asterisk-core-sounds-{language}-g722"
            ));
        }
        languages.push(pairs.iter().map(|prompt| read(prompt, &cosines)).collect::<Result<Vec<_>, _>>()?);
    }
    let usual = usual(&languages);
    let mut telephone_mean = RunningMean::new(&[0.0; CEPSTRA], 0.0);
    telephone_mean.remember_all();
    for (frame, level) in languages.iter().flatten().flat_map(|pair| &pair.narrow) {
        telephone_mean.add(frame, *level);
    }
    let mut random = Random(0x5EED_2026);
    let mut layers = Vec::new();
    let mut inputs = INPUTS;
    for outputs in HIDDEN.into_iter().chain([CEPSTRA]) {
        layers.push(Learning::new(inputs, outputs, &mut random));
        inputs = outputs;
    }
    let mut steps = 0;
    for epoch in 0..EPOCHS {
        let frames = frames(&languages, &usual, &mut random);
        let scale = deviations(&frames.targets);
        let mut order = frames.usable.clone();
        for at in (1..order.len()).rev() {
            order.swap(at, random.below(at + 1));
        }
        let mut loss = 0.0;
        for (index, batch) in order.chunks(BATCH).enumerate() {
            let done = (epoch as f32 + index as f32 * BATCH as f32 / order.len() as f32) / EPOCHS as f32;
            // Half a cosine from the full rate to almost none.
            let rate = 2e-3 * (0.5 + 0.5 * (done * std::f32::consts::PI).cos()) + 1e-5;
            loss += batch_step(&mut layers, &frames, batch, &scale);
            steps += 1;
            layers.iter_mut().for_each(|layer| layer.step(rate, steps));
        }
        eprintln!(
            "epoch {} of {EPOCHS}: unexplained variance {:.4}",
            epoch + 1,
            loss / order.len() as f32 / CEPSTRA as f32
        );
    }
    let layers = layers
        .into_iter()
        .map(|layer| {
            let weights = (0..layer.outputs)
                .flat_map(|output| (0..=layer.inputs).map(move |input| (input, output)))
                .map(|(input, output)| layer.weights[input * layer.outputs + output])
                .collect();
            Layer { inputs: layer.inputs, weights }
        })
        .collect();
    Ok(Trained { network: Network { usual: usual.0, layers }, telephone_mean: telephone_mean.value() })
}

fn deviations(targets: &[[f32; CEPSTRA]]) -> [f32; CEPSTRA] {
    let count = targets.len() as f32;
    std::array::from_fn(|at| {
        let mean = targets.iter().map(|target| target[at]).sum::<f32>() / count;
        (targets.iter().map(|target| (target[at] - mean).powi(2)).sum::<f32>() / count).sqrt()
    })
}

/// Forward and backward through a batch; gives the sum of squared errors in units of the targets' variances.
fn batch_step(layers: &mut [Learning], frames: &Frames, batch: &[usize], scale: &[f32; CEPSTRA]) -> f32 {
    let mut values: Vec<Vec<f32>> = vec![Vec::with_capacity(batch.len() * INPUTS)];
    for at in batch {
        values[0].extend(frames.bands[at - CONTEXT..=at + CONTEXT].as_flattened());
    }
    let last = layers.len() - 1;
    for (index, layer) in layers.iter().enumerate() {
        let mut output = Vec::new();
        layer.forward(&values[index], &mut output);
        if index < last {
            output.iter_mut().for_each(|value| *value = value.max(0.0));
        }
        values.push(output);
    }
    let mut loss = 0.0;
    let mut error = Vec::with_capacity(batch.len() * CEPSTRA);
    for (at, output) in batch.iter().zip(values[last + 1].chunks_exact(CEPSTRA)) {
        for (coefficient, (target, output)) in frames.targets[*at].iter().zip(output).enumerate() {
            let difference = (output - target) / scale[coefficient];
            loss += difference * difference;
            error.push(difference / scale[coefficient] / batch.len() as f32);
        }
    }
    for index in (0..layers.len()).rev() {
        let mut at_input = Vec::new();
        let wanted = (index > 0).then_some(&mut at_input);
        layers[index].backward(&values[index], &error, wanted);
        if index > 0 {
            at_input.iter_mut().zip(&values[index]).for_each(|(error, value)| {
                if *value <= 0.0 {
                    *error = 0.0;
                }
            });
            error = at_input;
        }
    }
    loss
}
