// A live session's page: watches the call over a WebSocket, on which this page can say nothing.

import { shown } from "./level.js";
import { Stream, streamUrl } from "./stream.js";
import { Turns, clock } from "./turns.js";

// Pause before it is looked again, when nobody takes part or the connection broke.
const PAUSE_MS = 2000;
const RECORDING = { on: "Yes", off: "No", paused: "Paused" };

const page = document.querySelector("[data-live]");
const status = page.querySelector("[data-status]");
const turns = new Turns(document.getElementById("turns"), document.getElementById("turn"));

function say(text) {
  if (status.textContent !== text) status.textContent = text;
}

function party(name) {
  return page.querySelector(`[data-party="${name}"]`);
}

function show(message) {
  switch (message.type) {
    case "session.ready":
      say("Live: what is said appears here as it is said.");
      catchUp();
      break;
    case "transcript.partial":
    case "transcript.final":
      turns.show(message);
      break;
    case "session.levels":
      for (const name of ["customer", "agent"]) {
        const [section, levels] = [party(name), message[name]];
        section.querySelector("[data-says]").value = shown(levels.level_dbfs);
        section.querySelector("[data-hears]").value = shown(levels.heard_dbfs);
        const speaks = section.querySelector("[data-speaks]");
        const text = levels.voice ? "Speaks" : levels.heard_dbfs > -60 ? "Listens to the translation" : "Silent";
        if (speaks.textContent !== text) speaks.textContent = text;
        section.classList.toggle("speaking", levels.voice);
      }
      if (message.elapsed_ms !== null) page.querySelector("[data-duration]").textContent = clock(message.elapsed_ms);
      break;
    case "session.lag": {
      const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;
      const heard = message.first_audio_ms === null ? "" : `, heard after ${seconds(message.first_audio_ms)}`;
      party(message.speaker).querySelector("[data-lag]").textContent = `text after ${seconds(message.final_ms)}${heard}`;
      break;
    }
    case "session.recording":
      page.querySelector("[data-recording]").textContent = RECORDING[message.state];
      break;
    case "session.error":
      say(message.message);
      break;
    case "session.ended":
      location.reload();
      break;
  }
}

// What was said before the stream was there: out of a fresh copy of this page.
async function catchUp() {
  const answer = await fetch(location.href, { credentials: "same-origin" });
  if (!answer.ok || answer.redirected) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("turns");
  if (fresh !== null) turns.adopt(fresh);
}

function quiet() {
  for (const name of ["customer", "agent"]) {
    const section = party(name);
    section.classList.remove("speaking");
    section.querySelector("[data-speaks]").textContent = "Not on the line";
    section.querySelector("[data-says]").value = 0;
    section.querySelector("[data-hears]").value = 0;
  }
}

async function watch() {
  let answer;
  try {
    answer = await fetch(page.dataset.observe, { credentials: "same-origin" });
  } catch {
    say("The server can't be reached. Trying again.");
    setTimeout(watch, PAUSE_MS);
    return;
  }
  if (!answer.ok || answer.redirected) {
    say("You may not watch this call any more, or are signed out. Load the page again.");
    return;
  }
  const { status: stands, token } = await answer.json();
  if (stands === "ended") {
    location.reload();
    return;
  }
  const url = streamUrl(location.href, page.dataset.session, { observe: "true" });
  let wasReady = false;
  new Stream(url, token, (message) => { wasReady = true; show(message); }, (code) => {
    // 1001: the token's time is over, or nobody is on the line any more. Without pause, where it worked until now.
    if (code === 4429) {
      say("As many people as may watch this call. Load the page again later.");
      return;
    }
    if (!wasReady) say("Nobody is on the line yet. This page begins by itself.");
    quiet();
    setTimeout(watch, wasReady && code === 1001 ? 0 : PAUSE_MS);
  });
}

watch();
