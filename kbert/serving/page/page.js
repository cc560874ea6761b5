// The page of `kbert serve`: asks the REST API of this server, nothing else.

import { showAnswer, showWords } from "./answer.js";
import { showCard } from "./card.js";
import { $, element } from "./element.js";
import { begin as beginLanguage, say } from "./language.js";

const REFRESH_MS = 2000;
// What may follow the address: #token=...&lang=...&model=...&text=... The
// texts, by the names of the model's inputs, are asked at once.
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

function current() {
  return models.find((model) => model.name === $("model").value) ?? models[0];
}

// In the order of the model's card; the signature has none.
function inputsOf(model) {
  const names = model.signatures?.serving_default?.inputs ?? [];
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
    const names = models.map((model) => model.name);
    const options = [...$("model").options].map((option) => option.value);
    if (names.join() !== options.join()) {
      $("model").replaceChildren(...names.map((n) => element("option", n)));
      $("picker").hidden = names.length < 2;
    }
    if (current()) {
      showCard(current());
      showInputs(current());
      $("explain").hidden = !current().signatures?.explain;
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
    const { predictions: [answer] } = await request(path, { instances: [row] });
    $("words").hidden = true;
    showAnswer(model, texts, answer);
    if ($("why").checked && model.signatures.explain) {
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
  $("model").addEventListener("change", () => {
    $("answer").hidden = true;
    refresh();
  });
  beginLanguage($("language"), () => ($("answer").hidden ? refresh() : ask()));
  await refresh();
  if (models.some((model) => model.name === given.get("model"))) {
    $("model").value = given.get("model");
    await refresh();
  }
  const areas = [...$("inputs").querySelectorAll("textarea")];
  for (const area of areas) area.value = given.get(area.name) ?? "";
  if (areas.length && areas.every((area) => area.value)) {
    $("ask").requestSubmit();
  }
  setInterval(refresh, REFRESH_MS);
}

begin();
