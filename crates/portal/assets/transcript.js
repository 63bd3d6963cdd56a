// The transcript beside the audio: a time plays the call from there, and the turn that is heard is marked.
// By delegation, since parts of the page are replaced while the recording is being made.

const audio = () => document.getElementById("audio");

document.addEventListener("click", (event) => {
  const link = event.target.closest("a.at");
  const player = audio();
  if (link === null || player === null || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  player.currentTime = Number(link.closest("[data-start]").dataset.start) / 1000;
  player.play();
});

// Media events don't bubble, but they can be caught on their way.
document.addEventListener("timeupdate", (event) => {
  if (event.target !== audio()) return;
  const at = event.target.currentTime * 1000;
  for (const turn of document.querySelectorAll("#turns > [data-start]")) {
    const isHeard = Number(turn.dataset.start) <= at && at < Number(turn.dataset.end);
    if (isHeard === turn.hasAttribute("aria-current")) continue;
    if (isHeard) turn.setAttribute("aria-current", "true");
    else turn.removeAttribute("aria-current");
  }
}, true);
