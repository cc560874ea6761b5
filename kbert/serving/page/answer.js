// What the model answers, as pictures.

import { $, element, percent } from "./element.js";
import { say } from "./language.js";

// The labels that were chosen: one, or of a multi-label head any number.
function chosen(answer) {
  if (Array.isArray(answer.labels)) return answer.labels.slice(0, answer.count);
  return answer.label === undefined ? [] : [answer.label];
}

function thresholdOf(config, i) {
  if (config.thresholds) return config.thresholds[i];
  const applies = config.positive === undefined
    || config.labels[i] === config.positive;
  return applies ? config.threshold : undefined;
}

function showBars(config, answer) {
  const labels = config.labels ?? answer.probabilities.map((_, i) => i);
  const picked = chosen(answer);
  $("bars").replaceChildren(...answer.probabilities.map((p, i) => {
    const row = element("tr", "", {
      className: picked.includes(String(labels[i])) ? "chosen" : "",
    });
    const track = element("div", "", { className: "track" });
    const fill = element("div", "", { className: "fill" });
    fill.style.width = `${100 * p}%`;
    track.append(fill);
    const threshold = thresholdOf(config, i);
    if (threshold <= 1) {
      const mark = element("div", "", {
        className: "threshold",
        title: `${say("threshold")} ${threshold.toFixed(4)}`,
      });
      mark.style.left = `${100 * threshold}%`;
      track.append(mark);
    }
    const cell = element("td");
    cell.append(track);
    row.append(element("td", labels[i]), cell,
      element("td", percent(p), { className: "number" }));
    return row;
  }));
}

// Spans of a text, by its bytes: entities, or the answer to a question.
function spansOf(answer) {
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
  const decoder = new TextDecoder();
  const paragraph = element("p");
  let place = 0;
  for (const { start, end, type, score } of spans) {
    paragraph.append(decoder.decode(bytes.slice(place, start)));
    const mark = element("mark", decoder.decode(bytes.slice(start, end)), {
      title: score.toFixed(4),
    });
    if (type) mark.append(element("small", type));
    paragraph.append(mark);
    place = end;
  }
  paragraph.append(decoder.decode(bytes.slice(place)));
  $("spans").replaceChildren(paragraph);
}

// Show `answer` for `texts`; of several, spans stand in the last one.
export function showAnswer(model, texts, answer) {
  const config = model.model?.head?.config ?? {};
  const hasBars = Array.isArray(answer.probabilities);
  const spans = model.model ? spansOf(answer) : null;
  const number = typeof answer === "number" ? answer.toFixed(4) : "";
  const found = spans && answer.text ? answer.text.slice(0, answer.count)
    : chosen(answer);
  $("label").textContent = number || (answer.answer ?? found.join(", "));
  $("raw").hidden = hasBars || Boolean(spans) || number !== "";
  $("raw").textContent = JSON.stringify(answer, null, 2);
  $("bars").hidden = !hasBars;
  if (hasBars) showBars(config, answer);
  $("found").hidden = !spans;
  if (spans) showSpans(texts.at(-1), spans);
  $("answer").hidden = false;
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

// What an explanation follows: the answered label, or the most likely, or the
// spans that were found.
function followed(model, answer) {
  if (answer.label !== undefined) return answer.label;
  if (spansOf(answer)) return say("spans");
  const labels = model.model?.head?.config?.labels;
  if (!labels || !answer.probabilities) return say("higher");
  return labels[answer.probabilities.indexOf(
    Math.max(...answer.probabilities))];
}

// Show which words of `texts` pushed `answer`, as `why` says.
export function showWords(model, texts, answer, why) {
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
  $("what").textContent = followed(model, answer);
  $("words").hidden = false;
}
