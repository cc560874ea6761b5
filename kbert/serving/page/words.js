// Which words pushed an answer, and which the model has not read.

import { followed } from "./answer.js";
import { $, element, signed, value, walk } from "./element.js";
import { say } from "./language.js";

const WORD = /[\p{L}\p{N}\p{P}\p{S}]/u;
// Each is a token at least, in whatever vocabulary.
const TOKENS = /\p{Script=Han}|[\p{P}$+<=>^`|~]|[^\s\p{P}$+<=>^`|~\p{Script=Han}]+/gu;
const READ_AS_ONE = /\p{Script=Han}|[^\s\p{Script=Han}]+/gu;

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

const count = (text, pattern) => text.match(pattern)?.length ?? 0;

// Word pieces of a word, which stand without a gap, count together; Chinese
// characters are words of their own.
function joined(bytes, pieces) {
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

// Say that `words` words are not read; without a number, that some are.
function showCut(model, words) {
  const { max_length: most, head } = model.model ?? {};
  const windows = head?.config?.overlap != null;
  $("cut").hidden = false;
  $("cut").textContent = words === undefined ? say("long")(most)
    : say(windows ? "cutWindows" : "cut")(words, most ?? "");
}

// Without an explanation it is known of texts that are long for certain.
export function showLength(model, texts) {
  const { max_length: most, head } = model.model ?? {};
  const tokens = 1 + texts.reduce((sum, x) => sum + 1 + count(x, TOKENS), 0);
  $("cut").hidden = true;
  if (most && head?.config?.overlap == null && tokens > most) showCut(model);
}

// A paragraph with a text's words, and how many of them are not read.
function paragraphOf(bytes, words, strongest, full) {
  const paragraph = element("p");
  let place = 0;
  let unread = 0;
  const between = (end) => {
    const gap = decoder.decode(bytes.slice(place, end));
    if (full && WORD.test(gap)) {
      unread += count(gap, READ_AS_ONE);
      paragraph.append(element("del", gap));
    } else {
      paragraph.append(gap);
    }
  };
  for (const word of words) {
    between(word.start);
    const mark = element("span", word.text, { className: "word" });
    const strength = (0.75 * Math.abs(word.pushed)) / strongest;
    const colour = word.pushed > 0 ? "--for" : "--against";
    mark.style.background = `rgba(var(${colour}), ${strength.toFixed(2)})`;
    mark.append(value(signed(word.pushed)));
    paragraph.append(mark);
    place = word.end;
  }
  between(bytes.length);
  return { paragraph, unread };
}

// Show which words of `texts` pushed `answer`, as `why` says.
export function showWords(model, texts, answer, why) {
  const pieces = why.attribution.map((pushed, i) => ({
    pushed, start: why.start[i], end: why.end[i], input: why.input[i],
  })).filter((piece) => piece.end > piece.start);
  const most = model.model?.max_length;
  // What a text that is read whole has between its tokens are characters that
  // no vocabulary knows.
  const full = !most || why.attribution.length >= most;
  const found = texts.map((text, which) => {
    const bytes = new TextEncoder().encode(text);
    return { bytes,
      words: joined(bytes, pieces.filter((p) => p.input === which)) };
  });
  const strongest = Math.max(1e-9, ...found.flatMap(({ words }) => words)
    .map(({ pushed }) => Math.abs(pushed)));
  const parts = found.map(({ bytes, words }) => paragraphOf(
    bytes, words, strongest, full));
  $("text").replaceChildren(...parts.map(({ paragraph }) => paragraph));
  walk($("text"), ".word");
  $("what").textContent = followed(model, answer);
  $("words").hidden = false;
  const unread = parts.reduce((sum, part) => sum + part.unread, 0);
  if (unread) showCut(model, unread);
  else $("cut").hidden = true;
}
