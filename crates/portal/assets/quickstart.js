// Turns the steps green when the server has seen them happen.
const steps = document.querySelector("[data-follow]");
const PAUSE_MS = 2000;

function done(name) {
  const badge = steps.querySelector(`[data-step="${name}"] [data-badge] > *`);
  if (badge.textContent === "Done") return;
  badge.className = "badge good";
  badge.textContent = "Done";
}

function show(found) {
  if (found.key) done("key");
  if (found.session) {
    done("session");
    const link = document.createElement("a");
    link.href = found.session.url;
    link.textContent = found.session.id;
    steps.querySelector("[data-session]").replaceChildren("The newest is ", link, ".");
  }
  if (found.words) {
    done("words");
    steps.querySelector("[data-words]").textContent = `“${found.words.text}” → “${found.words.translation}”`;
  }
  return found.key && found.session && found.words;
}

async function follow() {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    if (document.hidden) continue;
    try {
      const answer = await fetch(steps.dataset.follow, { headers: { Accept: "application/json" } });
      // Signed out, or no longer a member: a reload says so.
      if (answer.redirected || (answer.status >= 400 && answer.status < 500)) return;
      if (answer.ok && show(await answer.json())) return;
    } catch {
      // The server is away; the next look may find it again.
    }
  }
}

if (steps && steps.dataset.done !== "true") {
  // Changes are read out.
  steps.setAttribute("aria-live", "polite");
  follow();
}
