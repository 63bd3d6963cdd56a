// Charts by keyboard: the arrow keys go from step to step; what is there is said below and to screen readers.

function begin(figure) {
  const drawing = figure.querySelector("svg");
  const steps = [...figure.querySelectorAll("rect.step")];
  const said = figure.querySelector("output.said");
  if (!drawing || !said || steps.length === 0) return;
  let at = steps.length;
  const show = (index) => {
    steps[at]?.classList.remove("chosen");
    at = index;
    steps[at]?.classList.add("chosen");
    said.textContent = steps[at]?.querySelector("title").textContent ?? "";
  };
  drawing.setAttribute("tabindex", "0");
  drawing.addEventListener("keydown", (event) => {
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: steps.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    show(Math.max(0, Math.min(steps.length - 1, to)));
  });
  drawing.addEventListener("pointermove", (event) => {
    const index = steps.indexOf(event.target);
    if (index >= 0 && index !== at) show(index);
  });
  drawing.addEventListener("blur", () => show(steps.length));
  drawing.addEventListener("pointerleave", () => show(steps.length));
}

for (const figure of document.querySelectorAll("[data-chart]")) begin(figure);
