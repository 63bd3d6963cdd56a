// What every page gets when JavaScript is there. Pages work without it.

// Copy buttons.
for (const button of document.querySelectorAll("button[data-copy]")) {
  const source = document.getElementById(button.dataset.copy);
  if (!source || !navigator.clipboard) continue;
  button.hidden = false;
  const label = button.textContent;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(source);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = label; }, 2000);
  });
}

// What is wrong with a form is read out first.
document.getElementById("mistakes")?.focus();

// A form is sent once, however often its button is pressed.
for (const form of document.querySelectorAll("form[method=post]")) {
  form.addEventListener("submit", (event) => {
    if (form.dataset.sent) { event.preventDefault(); return; }
    form.dataset.sent = "yes";
    // Comes back by the browser's back button: it may be sent again.
    addEventListener("pageshow", () => { delete form.dataset.sent; }, { once: true });
  });
}

// A menu that was opened is closed by Escape.
addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const open = document.querySelector("details.side-narrow[open]");
  if (open) { open.open = false; open.querySelector("summary").focus(); }
});
