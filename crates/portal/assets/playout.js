// Plays the frames of a stream one after the other, without gaps between them.

import { SAMPLE_RATE_HZ, decode } from "./mulaw.js";
import { Resampler } from "./resample.js";

// How long the first frame after a pause waits, so that a late one makes no hole. Seconds.
const LEAD_S = 0.08;
// After a pause of this length a new stretch begins. Seconds.
const PAUSE_S = 0.2;

export class Playout {
  constructor(context) {
    this.context = context;
    this.next = 0;
    this.resampler = null;
  }

  // Whether something is being played.
  get isPlaying() {
    return this.next > this.context.currentTime;
  }

  play(mulaw) {
    const now = this.context.currentTime;
    if (this.resampler === null || this.next + PAUSE_S < now) {
      this.resampler = new Resampler(SAMPLE_RATE_HZ, this.context.sampleRate);
      this.next = now + LEAD_S;
    }
    const samples = this.resampler.push(decode(mulaw));
    if (samples.length === 0) return;
    const buffer = this.context.createBuffer(1, samples.length, this.context.sampleRate);
    buffer.copyToChannel(samples, 0);
    const source = this.context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.context.destination);
    source.start(Math.max(this.next, now));
    this.next = Math.max(this.next, now) + samples.length / this.context.sampleRate;
  }
}
