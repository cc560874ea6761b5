// What the model answers, as pictures.

import { $, element, percent, value, walk } from "./element.js";
import { say } from "./language.js";

// So many labels in the model's order; of more the first ones, and then as
// many again and again.
const MOST_LABELS = 10;
const MOST_CHARACTERS = 20;

// The labels that were chosen: one, or of a multi-label head any number.
function chosen(answer) {
  if (Array.isArray(answer.labels)) return answer.labels.slice(0, answer.count);
  return answer.label === undefined ? [] : [answer.label];
}

function thresholdOf(config, i) {
  if (config.thresholds) return config.thresholds[i];
  const applies = config.positive === undefined
    || config.labels?.[i] === config.positive;
  return applies ? config.threshold : undefined;
}

function bar({ label, p, picked, threshold }) {
  const row = element("tr", "", { className: picked ? "chosen" : "" });
  const track = element("div", "", { className: "track" });
  const fill = element("div", "", { className: "fill" });
  fill.style.width = `${100 * p}%`;
  track.append(fill);
  if (threshold >= 0 && threshold <= 1) {
    const mark = element("div", "", { className: "threshold" });
    mark.style.left = `${100 * threshold}%`;
    mark.append(value(`${say("threshold")} ${threshold.toFixed(4)}`));
    track.append(mark);
  }
  const cell = element("td");
  cell.append(track);
  // Short ones in a line, long ones in about as much room.
  const name = element("th", label, { scope: "row",
    className: label.length > MOST_CHARACTERS ? "long" : "" });
  row.append(name, cell,
    element("td", percent(p), { className: "number" }));
  return row;
}

function showBars(config, answer) {
  const picked = chosen(answer);
  const rows = answer.probabilities.map((p, i) => {
    const label = String(config.labels?.[i] ?? i);
    return { label, p, picked: picked.includes(label),
      threshold: thresholdOf(config, i) };
  });
  if (rows.length > MOST_LABELS) {
    rows.sort((a, b) => b.picked - a.picked || b.p - a.p);
  }
  let shown = 0;
  $("bars").replaceChildren();
  $("more").onclick = () => {
    const next = rows.slice(shown, Math.max(2 * shown, MOST_LABELS));
    $("bars").append(...next.map(bar));
    shown += next.length;
    $("more").hidden = shown === rows.length;
    $("more").textContent = say("more")(rows.length - shown);
  };
  $("more").onclick();
}

// Spans of a text, by its bytes: entities, or the answer to a question.
export function spansOf(answer) {
  if (Array.isArray(answer.type)) {
    return answer.type.slice(0, answer.count).map((type, i) => ({
      start: answer.start_byte[i], end: answer.end_byte[i], type,
      score: answer.score[i],
    }));
  }
  if (typeof answer.answer === "string" && answer.end_byte > 0) {
    return [{ start: answer.start_byte, end: answer.end_byte, type: "",
      score: answer.score }];
  }
  return null;
}

function showSpans(text, spans) {
  const bytes = new TextEncoder().encode(text);
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const paragraph = element("p");
  let place = 0;
  for (const { start, end, type, score } of spans) {
    paragraph.append(decoder.decode(bytes.slice(place, start)));
    const mark = element("mark", decoder.decode(bytes.slice(start, end)));
    if (type) mark.append(element("small", type));
    mark.append(value(score.toFixed(4)));
    paragraph.append(mark);
    place = end;
  }
  paragraph.append(decoder.decode(bytes.slice(place)));
  $("spans").replaceChildren(paragraph);
  walk($("spans"), "mark");
}

function draw(model, texts, answer) {
  const config = model.model?.head?.config ?? {};
  const hasBars = Array.isArray(answer.probabilities)
    && answer.probabilities.every((p) => typeof p === "number");
  const spans = model.model ? spansOf(answer) : null;
  const number = typeof answer === "number" ? answer.toFixed(4) : "";
  const found = spans && answer.text ? answer.text.slice(0, answer.count)
    : chosen(answer);
  const nothing = answer.answer === "" || (spans && !spans.length)
    || Array.isArray(answer.labels);
  $("label").textContent = number || answer.answer || found.join(", ")
    || (nothing ? say("nothing") : "");
  $("raw").hidden = hasBars || Boolean(spans) || number !== "";
  $("bars").hidden = !hasBars;
  $("more").hidden = true;
  if (hasBars) showBars(config, answer);
  $("found").hidden = !spans;
  if (spans) showSpans(texts.at(-1), spans);
}

// Show `answer` for `texts`; of several, spans stand in the last one.
export function showAnswer(model, texts, answer) {
  $("raw").textContent = JSON.stringify(answer, null, 2);
  try {
    draw(model, texts, answer);
  } catch {
    // Somebody's model, which answers something else under the same names.
    $("label").textContent = "";
    for (const id of ["bars", "more", "found"]) $(id).hidden = true;
    $("raw").hidden = false;
  }
  $("words").hidden = true;
  $("answer").hidden = false;
}

// What an explanation follows: the answered label, or the most likely, or the
// spans that were found.
export function followed(model, answer) {
  if (answer.label !== undefined) return answer.label;
  if (spansOf(answer)) return say("spans");
  const labels = model.model?.head?.config?.labels;
  if (!labels || !answer.probabilities) return say("higher");
  const best = answer.probabilities.reduce(
    (before, p, i, all) => (p > all[before] ? i : before), 0);
  return labels[best] ?? say("higher");
}
