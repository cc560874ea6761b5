// The page of `kbert serve`: asks the REST API of this server, nothing else.

import { showAnswer, showWords } from "./answer.js";
import { showCard } from "./card.js";
import { $, element } from "./element.js";
import { begin as beginLanguage, say } from "./language.js";

const REFRESH_MS = 2000;
// What may follow the address: #token=...&lang=...&model=...&task=...&text=...
// The texts, by the names of the model's inputs, are asked at once.
const given = new URLSearchParams(location.hash.slice(1));
const token = given.get("token");
let models = [];

async function request(path, body) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(path, body && {
    method: "POST",
    headers: { ...headers, "Content-Type": "application/json" },
    body: JSON.stringify(body),
  } || { headers });
  const answer = await response.json();
  if (response.status === 401) throw new Error(say("token"));
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

// The chosen model; of one with several tasks as if it had the chosen one only.
function current() {
  const model = models.find(({ name }) => name === $("model").value)
    ?? models[0];
  const tasks = model?.model?.tasks;
  if (!tasks) return model;
  const task = $("task").value in tasks ? $("task").value : model.model.default;
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

// In the order of the model's card; the signature has none.
function inputsOf(model) {
  const names = model.signatures?.[model.task ?? "serving_default"]?.inputs
    ?? [];
  const ordered = model.model?.inputs ?? [];
  return names.every((name) => ordered.includes(name)) && names.length
    ? ordered : names;
}

function showInputs(model) {
  const names = inputsOf(model);
  const shown = [...$("inputs").querySelectorAll("textarea")]
    .map((area) => area.name);
  if (shown.join() === names.join()) return;
  $("inputs").replaceChildren(...names.map((name) => {
    const label = element("label", name.replaceAll("_", " "));
    label.append(element("textarea", "", {
      name, required: true, spellcheck: false,
    }));
    return label;
  }));
}

async function refresh() {
  try {
    models = await request("/ui/models");
    choose("model", models.map(({ name }) => name), models.length < 2);
    const model = current();
    if (model) {
      // The default one first, which is then the one that is chosen.
      const tasks = Object.keys(model.model?.tasks ?? {});
      tasks.sort((a, b) => (b === model.model.default)
        - (a === model.model.default));
      choose("task", tasks, tasks.length < 2);
      showCard(model);
      showInputs(model);
      $("explain").hidden = !explains(model);
    }
    $("state").textContent = "";
  } catch (error) {
    $("state").textContent = error.message;
  }
}

async function ask(event) {
  event?.preventDefault();
  const model = current();
  const path = `/v1/models/${encodeURIComponent(model.name)}:predict`;
  const row = Object.fromEntries(new FormData($("ask")));
  const texts = inputsOf(model).map((name) => row[name]);
  $("error").hidden = true;
  try {
    const { predictions: [answer] } = await request(path, {
      ...(model.task && { signature_name: model.task }), instances: [row],
    });
    $("words").hidden = true;
    showAnswer(model, texts, answer);
    if ($("why").checked && explains(model)) {
      const { predictions: [why] } = await request(path, {
        signature_name: "explain", instances: [row],
      });
      showWords(model, texts, answer, why);
    }
  } catch (error) {
    $("error").textContent = error.message;
    $("error").hidden = false;
  }
  refresh();
}

async function begin() {
  $("ask").addEventListener("submit", ask);
  for (const id of ["model", "task"]) {
    $(id).addEventListener("change", () => {
      $("answer").hidden = true;
      refresh();
    });
  }
  beginLanguage($("language"), () => ($("answer").hidden ? refresh() : ask()));
  await refresh();
  for (const id of ["model", "task"]) {
    if ([...$(id).options].some(({ value }) => value === given.get(id))) {
      $(id).value = given.get(id);
      await refresh();
    }
  }
  const areas = [...$("inputs").querySelectorAll("textarea")];
  for (const area of areas) area.value = given.get(area.name) ?? "";
  if (areas.length && areas.every((area) => area.value)) {
    $("ask").requestSubmit();
  }
  setInterval(refresh, REFRESH_MS);
}

begin();
