// A session's WebSocket: its address and token, and its messages as events. A token goes into the sub-protocol, never into the address.

import { fromBase64, toBase64 } from "./mulaw.js";

// How to reach a session's stream at the server that this page came from.
export function streamUrl(base, session, query) {
  const url = new URL(`/v1/sessions/${encodeURIComponent(session)}/connect`, base);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  Object.entries(query).forEach(([name, value]) => url.searchParams.set(name, value));
  return url.href;
}

export class Stream {
  // `on` is called with each message, `onClose` once with the close code.
  constructor(url, token, on, onClose) {
    this.sequences = new Map();
    this.socket = new WebSocket(url, ["kallglot", token]);
    this.socket.onmessage = ({ data }) => on(JSON.parse(data));
    this.socket.onclose = ({ code }) => onClose(code);
  }

  // Sends a frame of what a party says. While the connection can't keep up, frames are left out rather than piled up.
  send(speaker, mulaw) {
    if (this.socket.readyState !== WebSocket.OPEN || this.socket.bufferedAmount > 64 * 1024) return;
    const sequence = (this.sequences.get(speaker) ?? 0) + 1;
    this.sequences.set(speaker, sequence);
    this.socket.send(JSON.stringify({
      type: "audio.input",
      sequence,
      speaker,
      audio: { encoding: "mulaw", sample_rate_hz: 8000, channels: 1, payload: toBase64(mulaw) },
    }));
  }

  close() {
    this.socket.onclose = null;
    this.socket.close();
  }
}

// The audio of a message, if it has any.
export function audioOf(message) {
  return message.type === "audio.output" ? fromBase64(message.audio.payload) : null;
}
