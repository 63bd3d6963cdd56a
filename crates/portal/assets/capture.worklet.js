// Runs on the audio thread: hands on what the microphone gives, in pieces of 20 ms or a little more, and decides nothing.

const PIECE_MS = 20;

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.blocks = [];
    this.samples = 0;
  }

  process([input]) {
    const [channel] = input;
    if (channel === undefined) return true;
    this.blocks.push(channel.slice());
    this.samples += channel.length;
    if (this.samples * 1000 >= PIECE_MS * sampleRate) {
      const piece = new Float32Array(this.samples);
      let at = 0;
      for (const block of this.blocks) {
        piece.set(block, at);
        at += block.length;
      }
      this.port.postMessage(piece, [piece.buffer]);
      this.blocks = [];
      this.samples = 0;
    }
    return true;
  }
}

registerProcessor("capture", Capture);
