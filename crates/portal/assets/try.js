// A call from the browser: the microphone goes to the stream, the translation comes from it.

import { explain, openFile, openMicrophone } from "./capture.js";
import { dbfs, shown } from "./level.js";
import { Playout } from "./playout.js";
import { Stream, audioOf, streamUrl } from "./stream.js";
import { Turns } from "./turns.js";

const page = document.querySelector("[data-try]");
const part = (name) => page.querySelector(`[data-${name}]`);
const [status, problem, start, stop, file, level] = ["status", "problem", "start", "stop", "file", "level"].map(part);
const [only, pause, other] = ["only", "pause", "other"].map(part);
const turns = new Turns(document.getElementById("turns"), document.getElementById("turn"));
const workletUrl = new URL("./capture.worklet.js", import.meta.url);

let context = null;
let playout = null;
let stream = null;
let closeSource = null;

const side = () => page.querySelector("input[name=side]:checked").value;

function say(text) {
  status.hidden = false;
  status.textContent = text;
}

function complain(text) {
  problem.hidden = text === "";
  problem.textContent = text;
}

function show(message) {
  const mulaw = audioOf(message);
  if (mulaw !== null) {
    playout.play(mulaw);
    return;
  }
  switch (message.type) {
    case "session.ready":
      say("Connected. Speak, and pause when you have said something.");
      break;
    case "transcript.partial":
    case "transcript.final":
      turns.show(message);
      break;
    case "session.error":
      complain(message.message);
      break;
    case "session.ended":
      location.assign(page.dataset.after);
      break;
  }
}

// Connects with a token that is asked for right before. For both parties, or for one when the other side is elsewhere.
async function connect() {
  const answer = await fetch(page.dataset.token, { credentials: "same-origin" });
  if (!answer.ok || answer.redirected) throw new Error("You are signed out, or may not run sessions any more. Load the page again.");
  const { token } = await answer.json();
  if (token === null) {
    location.assign(page.dataset.after);
    throw new Error("The call has ended.");
  }
  const query = only.checked ? { speaker: side() } : {};
  stream = new Stream(streamUrl(location.href, page.dataset.session, query), token, show, (code) => {
    stream = null;
    // 1001: the server is going away; another node, or the same one after its restart, goes on with the call.
    if (code === 1001 && closeSource !== null) {
      say("The connection was lost. Connecting again.");
      setTimeout(() => connect().catch((error) => complain(error.message)), 1000);
    } else if (code !== 1000) {
      silence();
      complain(`The connection was closed (${code}). Start again.`);
    }
  });
}

async function reconnect() {
  if (stream === null) return;
  stream.close();
  stream = null;
  await connect().catch((error) => complain(error.message));
}

function send(mulaw, samples) {
  level.value = shown(dbfs(samples));
  if (stream === null || (pause.checked && playout.isPlaying)) return;
  stream.send(side(), mulaw);
}

function silence() {
  closeSource?.();
  closeSource = null;
  level.value = 0;
  start.hidden = false;
  stop.hidden = true;
  file.disabled = false;
}

// Begins to send what `open` gives. Called by a click, which browsers want before anything sounds.
async function begin(open) {
  complain("");
  silence();
  start.disabled = true;
  try {
    context ??= new AudioContext();
    playout ??= new Playout(context);
    await context.resume();
    closeSource = await open();
    if (stream === null) await connect();
    start.hidden = true;
    stop.hidden = false;
    stop.focus();
  } catch (error) {
    silence();
    complain(explain(error));
  } finally {
    start.disabled = false;
  }
}

start.addEventListener("click", () => begin(() => openMicrophone(context, workletUrl, send)));
stop.addEventListener("click", () => {
  silence();
  say("The microphone is off. You still hear the other side.");
  start.focus();
});
file.addEventListener("change", () => {
  const [chosen] = file.files;
  if (chosen === undefined) return;
  begin(() => openFile(context, chosen, send, () => {
    silence();
    file.value = "";
    say("The file was sent.");
  }));
});

page.addEventListener("change", (event) => {
  if (event.target.name === "side") {
    const url = new URL(other.href);
    url.searchParams.set("side", side() === "customer" ? "agent" : "customer");
    other.href = url.href;
    if (only.checked) reconnect();
  } else if (event.target === only) {
    reconnect();
  }
});

start.disabled = false;
file.disabled = false;
addEventListener("pagehide", () => { silence(); stream?.close(); });
