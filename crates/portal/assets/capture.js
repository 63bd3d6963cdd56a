// Where a party's voice comes from: the microphone, or a sound file in its place. Both give mu-law frames of 40 ms.

import { SAMPLE_RATE_HZ, encode } from "./mulaw.js";
import { Resampler } from "./resample.js";

// Samples of a frame: 40 ms, so 25 messages a second.
export const FRAME_SAMPLES = 320;

// Cuts what comes into frames of the stream's format.
export class Framer {
  constructor(fromHz, onFrame) {
    this.resampler = new Resampler(fromHz, SAMPLE_RATE_HZ);
    this.onFrame = onFrame;
    this.waiting = new Float32Array(0);
  }

  push(samples) {
    const fresh = this.resampler.push(samples);
    const all = new Float32Array(this.waiting.length + fresh.length);
    all.set(this.waiting);
    all.set(fresh, this.waiting.length);
    let at = 0;
    for (; at + FRAME_SAMPLES <= all.length; at += FRAME_SAMPLES) {
      const frame = all.subarray(at, at + FRAME_SAMPLES);
      this.onFrame(encode(frame), frame);
    }
    this.waiting = all.slice(at);
  }
}

// What to tell somebody whose microphone can't be had.
export function explain(error) {
  switch (error?.name) {
    case "NotAllowedError":
    case "SecurityError":
      return "The browser did not give this page the microphone. Allow it beside the address, then start again.";
    case "NotFoundError":
    case "OverconstrainedError":
      return "No microphone was found. Connect one, then start again, or send a sound file.";
    case "NotReadableError":
    case "AbortError":
      return "Another program has the microphone. Close it there, then start again.";
    case "EncodingError":
      return "The browser can't read this sound file. Try a WAV, MP3 or Ogg file.";
    default:
      return error?.message ?? String(error);
  }
}

// Opens the microphone. Rejects with a DOMException that `explain` knows.
export async function openMicrophone(context, workletUrl, onFrame) {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Error("Browsers give the microphone only to pages that come by HTTPS or from localhost. You can send a sound file.");
  }
  const media = await navigator.mediaDevices.getUserMedia({
    audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
  });
  try {
    await context.audioWorklet.addModule(workletUrl);
  } catch (error) {
    media.getTracks().forEach((track) => track.stop());
    throw error;
  }
  const source = context.createMediaStreamSource(media);
  const capture = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0, channelCount: 1 });
  const framer = new Framer(context.sampleRate, onFrame);
  capture.port.onmessage = ({ data }) => framer.push(data);
  source.connect(capture);
  return () => {
    capture.port.onmessage = null;
    source.disconnect();
    media.getTracks().forEach((track) => track.stop());
  };
}

// Sends a sound file at the speed of speech. `onEnd` is called when all of it was sent.
export async function openFile(context, file, onFrame, onEnd) {
  const sound = await context.decodeAudioData(await file.arrayBuffer());
  const mono = new Float32Array(sound.length);
  for (let channel = 0; channel < sound.numberOfChannels; channel += 1) {
    sound.getChannelData(channel).forEach((sample, index) => {
      mono[index] += sample / sound.numberOfChannels;
    });
  }
  const framer = new Framer(sound.sampleRate, onFrame);
  const begun = performance.now();
  let sent = 0;
  const timer = setInterval(() => {
    const due = Math.min(mono.length, Math.floor(((performance.now() - begun) * sound.sampleRate) / 1000));
    framer.push(mono.subarray(sent, due));
    sent = due;
    if (sent === mono.length) {
      clearInterval(timer);
      onEnd();
    }
  }, 20);
  return () => clearInterval(timer);
}
