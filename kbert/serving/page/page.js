// The page of `kbert serve`: asks the REST API of this server, nothing else.

const REFRESH_MS = 2000;
const $ = (id) => document.getElementById(id);
// What may follow the address: #token=...&model=...&text=... The texts, by
// the names of the model's inputs, are asked at once.
const given = new URLSearchParams(location.hash.slice(1));
const token = given.get("token");
let models = [];

function element(tag, text = "", attributes = {}) {
  const made = Object.assign(document.createElement(tag), attributes);
  made.textContent = text;
  return made;
}

async function request(path, body) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(path, body && {
    method: "POST",
    headers: { ...headers, "Content-Type": "application/json" },
    body: JSON.stringify(body),
  } || { headers });
  const answer = await response.json();
  if (response.status === 401) {
    throw new Error("This server wants a token: open the page with "
      + "#token=... after its address.");
  }
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

function current() {
  return models.find((model) => model.name === $("model").value) ?? models[0];
}

function inputsOf(model) {
  return model.signatures?.serving_default?.inputs ?? [];
}

// === The model's card ===

function facts(list, rows) {
  list.replaceChildren(...rows.filter(([, value]) => value != null
    && value !== "").flatMap(([name, value]) => [
    element("dt", name), element("dd", String(value)),
  ]));
}

function percent(value) {
  return typeof value === "number" ? `${(100 * value).toFixed(2)}%` : null;
}

function showCard(model) {
  const { head, training = {}, backbone, kbert_version: version,
    max_length: maxLength } = model.model ?? {};
  const report = training.validation ?? {};
  $("name").textContent = model.name;
  facts($("facts"), [
    ["Labels", head?.config?.labels?.join(", ")],
    ["Head", head && `${head.name} (${head.plugin} ${head.version})`],
    ["Threshold", head?.config?.threshold?.toFixed?.(4)],
    ["Backbone", backbone && `BERT, ${backbone.num_layers} layers of width `
      + backbone.hidden_dim],
    ["Reads", maxLength && `the first ${maxLength} tokens`],
    ["Trained", training.date && `${training.date}, ${training.rows} rows`],
    ["Validation", report.accuracy != null
      && `accuracy ${percent(report.accuracy)}`
      + (report.macro_f1 != null
        ? `, macro-F1 ${percent(report.macro_f1)}` : "")
      + ` on ${training.validation_rows} rows`],
    ["kbert", version],
    ["Version labels", Object.entries(model.labels)
      .map(([label, number]) => `${label}: ${number}`).join(", ")],
  ].map(([name, value]) => [name, value === false ? null : value]));
  $("versions").replaceChildren(...model.versions.map((row) => {
    const line = element("tr");
    const loaded = row.loaded
      && new Date(1000 * row.loaded).toLocaleString();
    line.append(element("td", row.version), element("td", row.state),
      element("td", row.error ?? (loaded ? `loaded ${loaded}` : "")));
    return line;
  }));
  facts($("figures"), [
    ["Answered", model.figures.requests - model.figures.failed],
    ["Failed", model.figures.failed],
    ["Mean", model.figures.requests
      ? `${model.figures.mean_ms.toFixed(1)} ms` : null],
  ]);
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
    }
    $("state").textContent = "";
  } catch (error) {
    $("state").textContent = error.message;
  }
}

// === The answer ===

function showBars(model, answer) {
  const config = model.model?.head?.config ?? {};
  const labels = config.labels ?? answer.probabilities.map((_, i) => i);
  $("bars").replaceChildren(...answer.probabilities.map((p, i) => {
    const row = element("tr", "", {
      className: String(labels[i]) === answer.label ? "chosen" : "",
    });
    const track = element("div", "", { className: "track" });
    const fill = element("div", "", { className: "fill" });
    fill.style.width = `${100 * p}%`;
    track.append(fill);
    if (config.threshold <= 1 && labels[i] === config.positive) {
      const mark = element("div", "", {
        className: "threshold",
        title: `threshold ${config.threshold.toFixed(4)}`,
      });
      mark.style.left = `${100 * config.threshold}%`;
      track.append(mark);
    }
    const cell = element("td");
    cell.append(track);
    row.append(element("td", labels[i]), cell,
      element("td", percent(p), { className: "number" }));
    return row;
  }));
}

// Word pieces of a word, which stand without a gap, count together; Chinese
// characters are words of their own.
function words(bytes, pieces) {
  const decoder = new TextDecoder();
  const isWord = /^[\p{L}\p{N}\p{M}]+$/u;
  const isChinese = /\p{Script=Han}/u;
  const found = [];
  for (const piece of pieces) {
    const text = decoder.decode(bytes.slice(piece.start, piece.end));
    const last = found.at(-1);
    if (last && last.end === piece.start && isWord.test(text)
      && isWord.test(last.text) && !isChinese.test(text + last.text)) {
      last.end = piece.end;
      last.text += text;
      last.pushed += piece.pushed;
    } else {
      found.push({ ...piece, text });
    }
  }
  return found;
}

function showWords(texts, why, label) {
  const pieces = why.attribution.map((pushed, i) => ({
    pushed, start: why.start[i], end: why.end[i], input: why.input[i],
  })).filter((piece) => piece.end > piece.start);
  const paragraphs = texts.map((text, which) => {
    const bytes = new TextEncoder().encode(text);
    const decoder = new TextDecoder();
    const found = words(bytes, pieces.filter((p) => p.input === which));
    const strongest = Math.max(...found.map((w) => Math.abs(w.pushed)), 1e-9);
    const paragraph = element("p");
    let place = 0;
    for (const word of found) {
      paragraph.append(decoder.decode(bytes.slice(place, word.start)));
      const strength = (0.75 * Math.abs(word.pushed)) / strongest;
      const colour = word.pushed > 0 ? "--for" : "--against";
      const mark = element("span", word.text, {
        title: `${word.pushed > 0 ? "+" : ""}${word.pushed.toFixed(4)}`,
      });
      mark.style.background = `rgba(var(${colour}), ${strength.toFixed(2)})`;
      paragraph.append(mark);
      place = word.end;
    }
    paragraph.append(decoder.decode(bytes.slice(place)));
    return paragraph;
  });
  $("text").replaceChildren(...paragraphs);
  $("what").textContent = label ?? "a higher score";
  $("words").hidden = false;
}

async function ask(event) {
  event.preventDefault();
  const model = current();
  const path = `/v1/models/${encodeURIComponent(model.name)}:predict`;
  const row = Object.fromEntries(new FormData($("ask")));
  const texts = inputsOf(model).map((name) => row[name]);
  $("error").hidden = true;
  try {
    const { predictions: [answer] } = await request(path, { instances: [row] });
    const ours = Array.isArray(answer.probabilities);
    $("label").textContent = answer.label ?? "";
    $("raw").hidden = ours;
    $("raw").textContent = JSON.stringify(answer, null, 2);
    $("bars").hidden = !ours;
    if (ours) showBars(model, answer);
    $("answer").hidden = false;
    $("words").hidden = true;
    if ($("why").checked && model.signatures.explain) {
      const { predictions: [why] } = await request(path, {
        signature_name: "explain", instances: [row],
      });
      showWords(texts, why, answer.label);
    }
  } catch (error) {
    $("error").textContent = error.message;
    $("error").hidden = false;
  }
  refresh();
}

$("ask").addEventListener("submit", ask);
$("model").addEventListener("change", () => {
  $("answer").hidden = true;
  refresh();
});

async function begin() {
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
