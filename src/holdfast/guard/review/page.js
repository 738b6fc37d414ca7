// The page's only script: requests a passkey signature and posts it. It writes text, never markup.
"use strict";

const token = document.querySelector("meta[name=token]")?.content ?? "";
const statusLine = document.querySelector("[role=status]");

async function post(path, body) {
  const headers = { "content-type": "application/json", "x-holdfast": token };
  const response = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
  const given = await response.json();
  if (!response.ok) throw new Error(given.error);
  return given;
}

async function signed(options) {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(options);
  return (await navigator.credentials.get({ publicKey })).toJSON();
}

async function created(options) {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options);
  return (await navigator.credentials.create({ publicKey })).toJSON();
}

const actions = {
  async enrol(fields) {
    const credential = await created(await post("/enrol/options", fields));
    return post("/enrol", { credential });
  },
  async "sign-in"() {
    const credential = await signed(await post("/sign-in/options", {}));
    return post("/sign-in", { credential });
  },
  "sign-out": () => post("/sign-out", {}),
  async answer(fields, path) {
    const credential = await signed(await post(`${path}/options`, fields));
    return post(`${path}/answer`, { ...fields, credential });
  },
};

function fieldsOf(form, button) {
  const fields = Object.fromEntries(new FormData(form));
  for (const [name, value] of Object.entries(button?.dataset ?? {}))
    fields[name] = value === "true" ? true : value === "false" ? false : value;
  return fields;
}

for (const form of document.querySelectorAll("form[data-action]")) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const fields = fieldsOf(form, event.submitter);
    const buttons = form.querySelectorAll("button");
    buttons.forEach((button) => (button.disabled = true));
    statusLine.textContent = "";
    try {
      const { go } = await actions[form.dataset.action](fields, form.dataset.path);
      location.assign(go);
    } catch (error) {
      statusLine.textContent = error.name === "NotAllowedError" ? "The passkey was not used." : error.message;
      buttons.forEach((button) => (button.disabled = false));
    }
  });
}
