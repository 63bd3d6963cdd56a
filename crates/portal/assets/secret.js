// A secret is shown once. When its page is left it is taken off it, so that the way back does not show it again.
addEventListener("pagehide", () => {
  for (const element of document.querySelectorAll("[data-secret]")) element.textContent = "It was shown once.";
});
