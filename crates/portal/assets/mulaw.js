// G.711 mu-law (ITU-T G.711), the only audio that a stream carries: one byte per sample at 8 kHz.

export const SAMPLE_RATE_HZ = 8000;

const BIAS = 0x84;
const CLIP = 32635;

// One sample of 16 bits as one byte.
export function encodeSample(sample) {
  const sign = sample < 0 ? 0x80 : 0;
  const magnitude = Math.min(Math.abs(sample), CLIP) + BIAS;
  // The place of the highest bit: 7 to 14.
  const exponent = 24 - Math.clz32(magnitude);
  const mantissa = (magnitude >> (exponent + 3)) & 0x0f;
  return ~(sign | (exponent << 4) | mantissa) & 0xff;
}

// One byte as one sample of 16 bits.
export function decodeSample(byte) {
  const bits = ~byte & 0xff;
  const magnitude = (((bits & 0x0f) << 3) + BIAS) << ((bits >> 4) & 0x07);
  return bits & 0x80 ? BIAS - magnitude : magnitude - BIAS;
}

// Samples from -1 to 1 as bytes.
export function encode(samples) {
  return Uint8Array.from(samples, (sample) =>
    encodeSample(Math.round(Math.max(-1, Math.min(1, sample)) * 32767)));
}

// Bytes as samples from -1 to 1.
export function decode(bytes) {
  return Float32Array.from(bytes, (byte) => decodeSample(byte) / 32768);
}

export function toBase64(bytes) {
  return btoa(String.fromCharCode(...bytes));
}

export function fromBase64(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}
