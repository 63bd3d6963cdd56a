// Save as quickstart.mjs and run it: node quickstart.mjs
// Node 22 or newer. With Node 20: node --experimental-websocket quickstart.mjs
const KEY = "{{KEY}}";
const SERVER = "{{SERVER}}";

// 1. Create a session: a customer who speaks English, an agent who speaks Spanish.
const answer = await fetch(`${SERVER}/v1/sessions`, {
  method: "POST",
  headers: { "Authorization": `Bearer ${KEY}`, "Content-Type": "application/json" },
  body: JSON.stringify({
    mode: "bidirectional_translation", source_language: "en", target_language: "es",
  }),
});
const session = await answer.json();
if (!answer.ok) throw new Error(session.error.message);
console.log("session", session.id);

// 2. A recording to send, mu-law at 8 kHz, and two seconds of silence,
//    so that the end of speech is noticed.
const speech = Buffer.from(await (await fetch(`${SERVER}/portal/speech.ulaw`)).arrayBuffer());
const audio = Buffer.concat([speech, Buffer.alloc(16000, 0xff)]);

// 3. Open the session's stream, speak, and print what comes back.
const stream = new WebSocket(session.stream.url, ["kallglot", session.stream.token]);
const send = (message) => stream.send(JSON.stringify(message));

stream.onmessage = async ({ data }) => {
  const message = JSON.parse(data);
  if (message.type === "session.ready") {
    for (let at = 0; at < audio.length; at += 800) {
      send({
        type: "audio.input", speaker: "customer", sequence: at / 800, timestamp_ms: at / 8,
        audio: {
          encoding: "mulaw", sample_rate_hz: 8000,
          payload: audio.subarray(at, at + 800).toString("base64"),
        },
      });
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    send({ type: "session.end" });
  }
  if (message.type === "transcript.final") {
    console.log(`${message.text}  →  ${message.translation?.text}`);
  }
  if (message.type === "session.error") console.error("note:", message.message);
};
