// The model's card: what it is, its versions, its requests.

import { $, element, percent } from "./element.js";
import { locale, say } from "./language.js";

// Requests by model at the last look, for how many there are a second.
const before = new Map();

function facts(list, rows) {
  list.replaceChildren(...rows.filter(([, value]) => value != null
    && value !== false && value !== "").flatMap(([name, value]) => [
    element("dt", say(name)), element("dd", String(value)),
  ]));
}

function thresholds({ threshold, thresholds: each, labels } = {}) {
  if (each && labels) {
    return labels.map((label, i) => `${label}: ${each[i].toFixed(4)}`)
      .join(", ");
  }
  return threshold?.toFixed?.(4);
}

function validation({ accuracy, macro_f1: macroF1 }, rows) {
  const figures = [["accuracy", accuracy], ["macroF1", macroF1]]
    .filter(([, value]) => value != null)
    .map(([name, value]) => `${say(name)} ${percent(value)}`);
  return figures.length && say("on")(figures.join(", "), rows);
}

function rate(name, count) {
  const now = performance.now();
  const last = before.get(name);
  before.set(name, { count, now });
  if (!last || now === last.now) return null;
  const perSecond = (1000 * (count - last.count)) / (now - last.now);
  return say("rate")(perSecond.toFixed(1));
}

export function showCard(model) {
  const { head, training = {}, backbone, kbert_version: version,
    max_length: maxLength } = model.model ?? {};
  const { config } = head ?? {};
  $("name").textContent = model.name;
  facts($("facts"), [
    ["labels", config?.labels?.join(", ")],
    ["head", head && `${head.name} (${head.plugin} ${head.version})`],
    ["thresholdName", thresholds(config)],
    ["backbone", backbone && say("layers")(
      backbone.num_layers, backbone.hidden_dim)],
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
    line.append(element("td", row.version), element("td", row.state),
      element("td", row.error ?? (loaded ? `${say("loaded")} ${loaded}`
        : "")));
    return line;
  }));
  const { requests, failed, mean_ms: mean } = model.figures;
  facts($("figures"), [
    ["answered", requests - failed],
    ["failed", failed],
    ["mean", requests ? `${mean.toFixed(1)} ms` : null],
    ["perSecond", rate(model.name, requests)],
  ]);
}
