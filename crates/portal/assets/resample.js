// From one sample rate to another, piece by piece without seams: windowed sinc, one filter for each phase of the ratio.

// Zero crossings of the sinc on either side: where quality stops to be audible on a telephone's band.
const CROSSINGS = 12;
// How much of the narrower band is kept; the rest is where the filter falls off.
const KEPT = 0.9;

const divisor = (a, b) => (b === 0 ? a : divisor(b, a % b));

function filter(half, cutoff, fraction) {
  const taps = Float32Array.from({ length: 2 * half }, (_, index) => {
    const distance = index - (half - 1) - fraction;
    const x = Math.PI * cutoff * distance;
    const sinc = x === 0 ? 1 : Math.sin(x) / x;
    // Hann's window.
    return Math.abs(distance) < half ? sinc * (0.5 + 0.5 * Math.cos((Math.PI * distance) / half)) : 0;
  });
  const sum = taps.reduce((total, tap) => total + tap, 0);
  return taps.map((tap) => tap / sum);
}

export class Resampler {
  constructor(fromHz, toHz) {
    const common = divisor(fromHz, toHz);
    this.up = toHz / common;
    this.down = fromHz / common;
    const cutoff = Math.min(1, toHz / fromHz) * KEPT;
    this.half = Math.ceil(CROSSINGS / cutoff);
    this.filters = Array.from({ length: this.up }, (_, phase) => filter(this.half, cutoff, phase / this.up));
    // Silence before the first sample, so that it comes out at time 0.
    this.kept = new Float32Array(this.half - 1);
    this.phase = 0;
  }

  // The next input's output. What its end needs of samples to come comes with them.
  push(input) {
    const all = new Float32Array(this.kept.length + input.length);
    all.set(this.kept);
    all.set(input, this.kept.length);
    const output = [];
    let at = 0;
    while (at + 2 * this.half <= all.length) {
      const taps = this.filters[this.phase];
      let sum = 0;
      for (let index = 0; index < taps.length; index += 1) sum += taps[index] * all[at + index];
      output.push(sum);
      this.phase += this.down;
      at += Math.floor(this.phase / this.up);
      this.phase %= this.up;
    }
    // A step is shorter than a filter, so it never leads beyond what there is.
    this.kept = all.slice(at);
    return Float32Array.from(output);
  }
}
