// The model's card: what it is, its versions, its requests.

import { $, element, percent } from "./element.js";
import { locale, say } from "./language.js";

// Of labels; the answer shows the others.
const MOST = 10;

// Requests by model at the last look, for how many there are a second.
const before = new Map();

function facts(list, rows) {
  list.replaceChildren(...rows.filter(([, text]) => text != null
    && text !== false && text !== "").flatMap(([name, text]) => [
    element("dt", say(name)), element("dd", String(text)),
  ]));
}

function listed(texts = []) {
  const more = texts.length - MOST;
  const shown = texts.slice(0, MOST).join(", ");
  return more > 0 ? `${shown}, … (${say("more")(more)})` : shown;
}

function thresholds({ threshold, thresholds: each, labels } = {}) {
  if (each && labels) {
    return listed(labels.map((label, i) => `${label}: ${each[i].toFixed(4)}`));
  }
  return threshold?.toFixed(4);
}

function validation({ accuracy, macro_f1: macroF1 }, rows) {
  const figures = [["accuracy", accuracy], ["macroF1", macroF1]]
    .filter(([, figure]) => figure != null)
    .map(([name, figure]) => `${say(name)} ${percent(figure)}`);
  return figures.length && say("on")(figures.join(say("comma")), rows);
}

function rate(name, count) {
  const now = performance.now();
  const last = before.get(name);
  before.set(name, { count, now });
  if (!last || now === last.now) return null;
  const perSecond = (1000 * (count - last.count)) / (now - last.now);
  return say("rate")(perSecond.toFixed(1));
}

function percentiles(figures) {
  return figures && ["p50", "p99"]
    .map((name) => `${name} ${figures[name].toFixed(1)} ms`)
    .join(say("comma"));
}

export function showCard(model) {
  const { head, training = {}, backbone, kbert_version: version,
    max_length: maxLength } = model.model ?? {};
  const { config } = head ?? {};
  const made = [head?.plugin, head?.version].filter(Boolean).join(" ");
  $("name").textContent = model.name;
  facts($("facts"), [
    ["labels", listed(config?.labels)],
    ["head", head?.name && `${head.name}${made && ` (${made})`}`],
    ["thresholdName", thresholds(config)],
    ["backbone", backbone?.num_layers && backbone.hidden_dim
      && say("layers")(backbone.num_layers, backbone.hidden_dim)],
    ["reads", maxLength
      && say(config?.overlap == null ? "tokens" : "windows")(maxLength)],
    ["trained", training.date && say("rows")(training.date, training.rows)],
    ["validation", validation(training.validation ?? {},
      training.validation_rows) || null],
    ["kbert", version],
    ["versionLabels", Object.entries(model.labels)
      .map(([label, number]) => `${label}: ${number}`).join(", ")],
  ]);
  $("versions").replaceChildren(...model.versions.map((row) => {
    const line = element("tr");
    const loaded = row.loaded
      && new Date(1000 * row.loaded).toLocaleString(locale());
    line.append(element("td", row.version),
      element("td", say("states")[row.state] ?? row.state),
      element("td", row.error ?? (loaded ? `${say("loaded")} ${loaded}`
        : "")));
    return line;
  }));
  const { requests, failed, predict, explain } = model.figures;
  facts($("figures"), [
    ["answered", requests - failed],
    ["failed", failed],
    ["predictTimes", percentiles(predict)],
    ["explainTimes", percentiles(explain)],
    ["perSecond", rate(model.name, requests)],
  ]);
}
