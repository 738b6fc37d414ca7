"use strict";
// Collects the chosen labels and offers them as a file. Reads ids and values of the form only, never the quoted text.
const form = document.getElementById("labels");
const chosen = () => Object.fromEntries(new FormData(form));
const count = () => {
  const done = Object.keys(chosen()).length;
  document.getElementById("count").textContent = `${done} of ${form.querySelectorAll("fieldset").length} labelled`;
};
form.addEventListener("change", count);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  const content = JSON.stringify({ draw: form.dataset.draw, labels: chosen() }, null, 1);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type: "application/json" }));
  link.download = "labels.json";
  link.click();
});
count();
