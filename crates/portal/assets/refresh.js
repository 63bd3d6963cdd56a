// A part of a page that is about to change (`data-refresh`) is asked for again until it has: at most for a minute.

const PAUSE_MS = 1500;
const LOOKS_MAX = 40;

async function refresh(part) {
  for (let looks = 0; looks < LOOKS_MAX && part.hasAttribute("data-refresh"); looks += 1) {
    await new Promise((done) => setTimeout(done, PAUSE_MS));
    if (document.hidden) continue;
    const answer = await fetch(location.pathname + location.search, { credentials: "same-origin" });
    if (!answer.ok || answer.redirected) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById(part.id);
    if (!fresh) return;
    part.replaceWith(document.adoptNode(fresh));
    part = fresh;
  }
}

for (const part of document.querySelectorAll("[data-refresh][id]")) refresh(part);
