// What is said, as it is said: a partial text grows in its place until its final takes it.

const NAMES = { customer: "Customer", agent: "Agent" };

export function clock(ms) {
  const seconds = Math.floor(ms / 1000);
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  const two = (number) => String(number).padStart(2, "0");
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${minutes}:${two(seconds % 60)}`;
}

export class Turns {
  constructor(list, template) {
    this.list = list;
    this.template = template;
  }

  // Shows a `transcript.partial` or `transcript.final`.
  show(message) {
    const isFinal = message.type === "transcript.final";
    let turn = document.getElementById(message.id);
    // A partial never takes back what is final.
    if (turn !== null && !isFinal && !turn.classList.contains("partial")) return;
    const atEnd = scrollY + innerHeight > document.documentElement.scrollHeight - 80;
    if (turn === null) {
      turn = this.template.content.firstElementChild.cloneNode(true);
      turn.id = message.id;
      this.place(turn, message.start_ms);
    }
    turn.classList.toggle("partial", !isFinal);
    turn.classList.toggle("agent", message.speaker === "agent");
    turn.dataset.start = message.start_ms;
    turn.dataset.end = message.end_ms;
    turn.querySelector(".at").textContent = clock(message.start_ms);
    turn.querySelector(".who").textContent = NAMES[message.speaker];
    const original = turn.querySelector(".original");
    original.textContent = message.text;
    original.lang = message.language;
    const translation = turn.querySelector(".translation");
    translation.textContent = message.translation?.text ?? (isFinal ? "not translated" : "…");
    if (message.translation) translation.lang = message.translation.language;
    if (atEnd) turn.scrollIntoView({ block: "nearest" });
  }

  // In the order in which they were begun.
  place(turn, start) {
    const later = [...this.list.children].find((other) => Number(other.dataset.start) > start);
    this.list.insertBefore(turn, later ?? null);
  }

  // Takes over turns that a freshly loaded page has and this one missed.
  adopt(list) {
    for (const turn of [...list.children]) {
      const known = document.getElementById(turn.id);
      if (known === null) this.place(document.adoptNode(turn), Number(turn.dataset.start));
      else if (known.classList.contains("partial")) known.replaceWith(document.adoptNode(turn));
    }
  }
}
