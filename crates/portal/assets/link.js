// Puts the code of a link (`/portal/link#<code>`) into the form, takes it out of the address and the history, and sends the form.
const field = document.getElementById("code");
const code = location.hash.slice(1);
if (field && code) {
  history.replaceState(null, "", location.pathname);
  field.value = code;
  field.form.requestSubmit();
}
