// `node --test crates/portal/assets`: what is pure of the pages that carry a voice.

import assert from "node:assert/strict";
import { test } from "node:test";

import { FRAME_SAMPLES, Framer } from "../capture.js";
import { SILENCE_DBFS, dbfs, shown } from "../level.js";
import { decode, decodeSample, encode, encodeSample, fromBase64, toBase64 } from "../mulaw.js";
import { Resampler } from "../resample.js";
import { streamUrl } from "../stream.js";

const sine = (hz, rate, samples) =>
  Float32Array.from({ length: samples }, (_, at) => 0.5 * Math.sin((2 * Math.PI * hz * at) / rate));

test("mu-law is G.711's", () => {
  // The ends and the middle of the table of ITU-T G.711, in 16 bits.
  for (const [sample, byte] of [[0, 0xff], [-1, 0x7f], [32767, 0x80], [-32768, 0x00], [8, 0xfe], [132, 0xef], [1000, 0xce]]) {
    assert.equal(encodeSample(sample), byte, `${sample}`);
  }
  assert.equal(decodeSample(0xff), 0);
  assert.equal(decodeSample(0x80), 32124);
  assert.equal(decodeSample(0x00), -32124);
});

test("every byte of mu-law comes back, but for the second zero", () => {
  for (let byte = 0; byte < 256; byte += 1) {
    assert.equal(encodeSample(decodeSample(byte)), byte === 0x7f ? 0xff : byte);
  }
});

test("a voice survives mu-law with little noise", () => {
  const voice = sine(440, 8000, 8000);
  const heard = decode(encode(voice));
  const noise = Float32Array.from(voice, (sample, at) => heard[at] - sample);
  assert.ok(dbfs(voice) - dbfs(noise) > 35, `${dbfs(voice) - dbfs(noise)} dB`);
});

test("what is too loud is clipped and what is no number is silence", () => {
  assert.deepEqual([...encode([2, -2])], [0x80, 0x00]);
  assert.equal(Math.abs(decode(encode([NaN]))[0]), 0);
});

test("Base64 goes there and back", () => {
  const bytes = Uint8Array.from({ length: 320 }, (_, at) => at % 256);
  assert.deepEqual(fromBase64(toBase64(bytes)), bytes);
  assert.equal(toBase64(Uint8Array.of(0xff, 0x7f)), "/38=");
});

for (const [from, to] of [[48000, 8000], [44100, 8000], [16000, 8000], [8000, 48000], [8000, 44100], [8000, 8000]]) {
  test(`resampling from ${from} to ${to} Hz keeps a tone, its level and its time`, () => {
    const resampler = new Resampler(from, to);
    const input = sine(1000, from, from);
    const output = [];
    // In pieces of all sizes, as an audio thread gives them.
    for (let at = 0, size = 1; at < input.length; at += size, size = (size % 1000) + 7) {
      output.push(...resampler.push(input.subarray(at, Math.min(at + size, input.length))));
    }
    const expected = sine(1000, to, output.length);
    assert.ok(Math.abs(output.length - to) < to / 50, `${output.length} samples of one second`);
    const from_ms = Math.round(to / 50);
    const error = Float32Array.from(output, (sample, at) => sample - expected[at]).subarray(from_ms);
    assert.ok(dbfs(error) < -60, `${dbfs(error)} dBFS`);
  });
}

test("resampling in pieces is the same as in one", () => {
  const input = sine(700, 44100, 4410);
  const whole = new Resampler(44100, 8000).push(input);
  const resampler = new Resampler(44100, 8000);
  const pieces = [];
  for (let at = 0; at < input.length; at += 128) pieces.push(...resampler.push(input.subarray(at, at + 128)));
  assert.deepEqual(pieces, [...whole]);
});

test("what a telephone can't carry is taken out, not folded down", () => {
  const output = new Resampler(48000, 8000).push(sine(7000, 48000, 48000));
  assert.ok(dbfs(output.subarray(200)) < -60, `${dbfs(output.subarray(200))} dBFS`);
});

test("frames have the stream's length, whatever comes", () => {
  const frames = [];
  const framer = new Framer(48000, (mulaw) => frames.push(mulaw.length));
  for (let piece = 0; piece < 50; piece += 1) framer.push(new Float32Array(960));
  assert.ok(frames.length >= 23 && frames.length <= 25, `${frames.length} frames of one second`);
  assert.ok(frames.every((length) => length === FRAME_SAMPLES));
});

test("levels are those of the server", () => {
  assert.equal(dbfs(new Float32Array(100)), SILENCE_DBFS);
  assert.equal(dbfs([]), SILENCE_DBFS);
  assert.ok(Math.abs(dbfs(sine(440, 8000, 8000)) - -9.03) < 0.05);
  assert.deepEqual([shown(-96), shown(-60), shown(-30), shown(0)], [0, 0, 50, 100]);
});

test("a stream is at the server that the page came from, and its token is not in the address", () => {
  assert.equal(
    streamUrl("https://api.example.com/portal/x", "sess_1", { observe: "true" }),
    "wss://api.example.com/v1/sessions/sess_1/connect?observe=true",
  );
  assert.equal(streamUrl("http://127.0.0.1:8080/", "sess_1", {}), "ws://127.0.0.1:8080/v1/sessions/sess_1/connect");
});
