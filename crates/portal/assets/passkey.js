// Passkeys: makes one, or shows one, for the form that it is asked for in.
//
// A form with `data-passkey="create"` or `"get"` and `data-options` (where the challenge comes from) has a hidden button with `data-passkey-start`, the
// hidden fields `ceremony` and `answer`, and a place for what went wrong with `data-passkey-message`. It works without this module as far as its
// page says what to do instead.

const decode = (text) => {
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (letter) => letter.charCodeAt(0));
};

const encode = (buffer) => {
  let binary = "";
  for (const byte of new Uint8Array(buffer)) binary += String.fromCharCode(byte);
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
};

const descriptors = (list) => (list ?? []).map((one) => ({ ...one, id: decode(one.id) }));

const create = async (options) => {
  const publicKey = {
    ...options,
    challenge: decode(options.challenge),
    user: { ...options.user, id: decode(options.user.id) },
    excludeCredentials: descriptors(options.excludeCredentials),
  };
  const made = await navigator.credentials.create({ publicKey });
  return {
    id: made.id,
    rawId: encode(made.rawId),
    type: made.type,
    response: {
      clientDataJSON: encode(made.response.clientDataJSON),
      attestationObject: encode(made.response.attestationObject),
    },
  };
};

const get = async (options) => {
  const publicKey = {
    ...options,
    challenge: decode(options.challenge),
    allowCredentials: descriptors(options.allowCredentials),
  };
  const shown = await navigator.credentials.get({ publicKey });
  return {
    id: shown.id,
    rawId: encode(shown.rawId),
    type: shown.type,
    response: {
      clientDataJSON: encode(shown.response.clientDataJSON),
      authenticatorData: encode(shown.response.authenticatorData),
      signature: encode(shown.response.signature),
      userHandle: shown.response.userHandle ? encode(shown.response.userHandle) : null,
    },
  };
};

const why = (error) => {
  switch (error?.name) {
    case "InvalidStateError":
      return "This device has a passkey for your account already.";
    case "NotAllowedError":
    case "AbortError":
      return "It was cancelled, or took too long. Try again.";
    case "SecurityError":
      return "Passkeys don't work at this address.";
    default:
      return "That did not work. Load the page again and try once more.";
  }
};

for (const form of document.querySelectorAll("form[data-passkey]")) {
  const button = form.querySelector("[data-passkey-start]");
  const message = form.querySelector("[data-passkey-message]");
  if (!window.PublicKeyCredential || !window.isSecureContext) {
    message.textContent = "This browser can't use passkeys at this address.";
    continue;
  }
  button.hidden = false;
  const start = async () => {
    if (button.disabled || !form.reportValidity()) return;
    button.disabled = true;
    message.textContent = "";
    try {
      const body = new URLSearchParams({ csrf: form.elements.csrf.value });
      const response = await fetch(form.dataset.options, { method: "POST", body });
      if (!response.headers.get("content-type")?.startsWith("application/json")) {
        // Signed out meanwhile, or to be confirmed again: the page itself says so.
        location.reload();
        return;
      }
      const { options, ceremony } = await response.json();
      const answer = await (form.dataset.passkey === "create" ? create(options) : get(options));
      form.elements.ceremony.value = ceremony;
      form.elements.answer.value = JSON.stringify(answer);
      form.submit();
    } catch (error) {
      message.textContent = why(error);
      button.disabled = false;
    }
  };
  button.addEventListener("click", start);
  // Enter in a field of the form is the button, too: without an answer there is nothing to send.
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    // What keeps other forms from being sent twice does not apply: this one was not sent.
    delete form.dataset.sent;
    start();
  });
  // Comes back by the browser's back button.
  addEventListener("pageshow", () => { button.disabled = false; });
}
