// The page of `kbert serve`: asks the REST API of this server, nothing else.

import { showAnswer } from "./answer.js";
import { ApiError, request } from "./api.js";
import { showCard } from "./card.js";
import { $, element } from "./element.js";
import { findEmpty, inputsOf, noteTyped, readAddress, readTexts, showExamples,
  showInputs, showLink } from "./inputs.js";
import { begin as beginLanguage, say } from "./language.js";
import { showLength, showWords } from "./words.js";

const REFRESH_MS = 2000;
// What may follow the address: #token=...&lang=...&model=...&task=...&text=...
// The texts, by the names of the model's inputs, are asked at once.
let given = new URLSearchParams(location.hash.slice(1));
const token = given.get("token");
let models = [];
// Until what the address gives is chosen, and asked.
let opening = true;
// What is asked now, and what stands on the page.
let running = null;
let shown = null;

// The chosen model; of one with several tasks as if it had the chosen one only.
function current() {
  const model = models.find(({ name }) => name === $("model").value)
    ?? models[0];
  const tasks = model?.model?.tasks;
  if (!tasks) return model;
  const chosen = $("task").value;
  const task = Object.hasOwn(tasks, chosen) ? chosen : model.model.default;
  return { ...model, task, model: { ...model.model, ...tasks[task] } };
}

function explains({ task, model, signatures }) {
  // The signature is the default task's.
  return Boolean(signatures?.explain) && (!task || task === model.default);
}

function choose(id, names, hidden) {
  const options = [...$(id).options].map((option) => option.value);
  if (names.join() !== options.join()) {
    $(id).replaceChildren(...names.map((name) => element("option", name)));
  }
  $(id).parentElement.hidden = hidden;
}

// What the page does now, "" for nothing, and whether it can be asked.
function showBusy(what) {
  $("busy").dataset.what = what;
  $("busy").textContent = what && say(what);
  const busy = opening || what !== "";
  $("asking").setAttribute("aria-busy", String(busy));
  $("go").disabled = busy || !inputsOf(current()).length;
}

function showError(error) {
  const kinds = say("errors");
  const status = error instanceof ApiError ? error.status : null;
  $("error").replaceChildren(kinds[status] ?? kinds.other, " ",
    element("small", error.message ?? "", { lang: "en" }));
  $("error").hidden = false;
}

// What was answered is of another text, model or task now.
function clear() {
  running?.abort();
  running = shown = null;
  for (const id of ["error", "answer"]) $(id).hidden = true;
  showBusy("");
  showLink(current());
}

function draw() {
  const { model, texts, answer, why, times } = shown;
  showAnswer(model, texts, answer);
  showLength(model, texts);
  if (why) showWords(model, texts, answer, why);
  $("times").textContent = say("times")(...times.map(Math.round));
}

async function refresh() {
  try {
    models = await request("/ui/models", { token });
    choose("model", models.map(({ name }) => name), models.length < 2);
    // The default one first, which is then the one that is chosen.
    const { tasks = {}, default: first } = models.find(
      ({ name }) => name === $("model").value)?.model ?? {};
    const names = Object.keys(tasks);
    names.sort((a, b) => (b === first) - (a === first));
    choose("task", names, names.length < 2);
    const model = current();
    if (model) {
      showCard(model);
      if (showInputs(model)) clear();
      showExamples(model, ask);
      $("explain").hidden = !explains(model);
    }
    if (!running) showBusy("");
    $("state").textContent = "";
  } catch (error) {
    $("state").textContent = say("errors")[error.status]
      ?? say("errors").other;
  }
}

async function predict(model, signature, row, signal) {
  const path = `/v1/models/${encodeURIComponent(model.name)}:predict`;
  const started = performance.now();
  const body = {
    ...(signature && { signature_name: signature }), instances: [row],
  };
  const answer = await request(path, { token, body, signal });
  return [answer.predictions?.[0] ?? answer, performance.now() - started];
}

async function ask() {
  clear();
  const model = current();
  if (!model) return;
  if (findEmpty()) {
    $("error").textContent = say("empty");
    $("error").hidden = false;
    return;
  }
  const texts = readTexts();
  const row = Object.fromEntries(
    inputsOf(model).map((name, i) => [name, texts[i]]));
  const mine = new AbortController();
  running = mine;
  try {
    showBusy("asking");
    const [answer, ms] = await predict(model, model.task, row, mine.signal);
    if (running !== mine) return;
    shown = { model, texts, answer, times: [ms] };
    noteTyped(model, texts);
    showExamples(model, ask);
    draw();
    if ($("why").checked && explains(model)) {
      showBusy("explaining");
      const [why, more] = await predict(model, "explain", row, mine.signal);
      if (running !== mine) return;
      shown = { ...shown, why, times: [ms, more] };
      draw();
    }
  } catch (error) {
    if (running !== mine) return;
    // What cannot be drawn is not drawn again.
    if (shown) shown.why = null;
    $("words").hidden = true;
    showError(error);
  }
  running = null;
  showBusy("");
  refresh();
}

// Choose what the address gives, and ask it.
async function open() {
  opening = true;
  await refresh();
  for (const id of ["model", "task"]) {
    if ([...$(id).options].some((option) => option.value === given.get(id))) {
      $(id).value = given.get(id);
      await refresh();
    }
  }
  const complete = readAddress(given);
  opening = false;
  clear();
  if (complete) ask();
}

async function begin() {
  $("ask").addEventListener("submit", (event) => {
    event.preventDefault();
    if (!$("go").disabled) ask();
  });
  $("inputs").addEventListener("input", clear);
  $("inputs").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      if (!$("go").disabled) ask();
    }
  });
  for (const id of ["model", "task"]) {
    $(id).addEventListener("change", () => {
      clear();
      refresh();
    });
  }
  beginLanguage($("language"), () => {
    refresh();
    showBusy($("busy").dataset.what ?? "");
    $("error").hidden = true;
    if (shown) draw();
  });
  window.addEventListener("hashchange", () => {
    given = new URLSearchParams(location.hash.slice(1));
    open();
  });
  await open();
  setInterval(refresh, REFRESH_MS);
}

begin();
