"use strict";
// Buttons work without this script too; with it the page stays where it is and follows what happens.
const live = document.getElementById("live");
const toast = document.getElementById("toast");
let shown;

async function refresh() {
  if (document.hidden) return;
  try {
    const answer = await fetch("/live");
    if (!answer.ok) return;
    const html = await answer.text();
    if (live.dataset.html === html || live.querySelector("button:disabled")) return;
    const focused = document.activeElement?.closest("form")?.getAttribute("action");
    live.innerHTML = live.dataset.html = html;
    if (focused) live.querySelector(`form[action="${focused}"] button`)?.focus();
  } catch {
    say("The demo does not answer; has it been stopped?");
  }
}

function say(text) {
  toast.textContent = text;
  toast.classList.add("shown");
  clearTimeout(shown);
  shown = setTimeout(() => toast.classList.remove("shown"), 5000);
}

live.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.submitter;
  button.disabled = true;
  try {
    const answer = await fetch(event.target.action, { method: "POST", headers: { Accept: "application/json" } });
    say((await answer.json()).said);
  } catch {
    say("The demo does not answer; has it been stopped?");
  } finally {
    button.disabled = false;
    refresh();
  }
});

setInterval(refresh, 2000);
