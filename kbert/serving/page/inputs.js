// The texts that are asked: areas to type them, examples, and a link to them.

import { $, cut, element } from "./element.js";
import { nameOf } from "./language.js";

// What else may follow the address: #model=...&task=...&lang=...&token=...
const RESERVED = ["model", "task", "lang", "token"];
const keyOf = (name) => (RESERVED.includes(name) ? `input.${name}` : name);

// Those that were typed and answered, newest first, as long as the page lives.
const MOST_TYPED = 5;
let typed = [];

// In the order of the model's card; the signature has none.
export function inputsOf(model) {
  const names = model?.signatures?.[model.task ?? "serving_default"]?.inputs
    ?? [];
  const ordered = model?.model?.inputs ?? [];
  return ordered.length === names.length
    && names.every((name) => ordered.includes(name)) ? ordered : names;
}

const areas = () => [...$("inputs").querySelectorAll("textarea")];

export const readTexts = () => areas().map((area) => area.value);

function writeTexts(texts) {
  areas().forEach((area, i) => { area.value = texts[i] ?? ""; });
}

// The first area without a text, which then has the focus.
export function findEmpty() {
  const empty = areas().find((area) => !area.value.trim());
  empty?.focus();
  return empty;
}

// Have an area for each input; returns whether there are new ones.
export function showInputs(model) {
  const names = inputsOf(model);
  const before = new Map(areas().map((area) => [area.name, area.value]));
  for (const label of $("inputs").children) {
    label.firstChild.textContent = nameOf(label.lastChild.name);
  }
  if (names.join("\n") === [...before.keys()].join("\n")) return false;
  $("inputs").replaceChildren(...names.map((name) => {
    const label = element("label");
    const area = element("textarea", "", { name, spellcheck: false });
    area.value = before.get(name) ?? "";
    label.append(element("span", nameOf(name)), area);
    return label;
  }));
  return true;
}

// Texts that the address gives, asked at once if there is one for each input.
export function readAddress(given) {
  for (const area of areas()) area.value = given.get(keyOf(area.name)) ?? "";
  return areas().length > 0 && areas().every((area) => area.value);
}

// The link has the texts behind its #, which browsers send nowhere, and not
// the token.
export function showLink(model) {
  const parts = areas().filter((area) => area.value)
    .map((area) => [keyOf(area.name), area.value]);
  $("link").hidden = !parts.length;
  const about = [["model", model?.name], ["task", model?.task]]
    .filter(([, value]) => value);
  // "+" for a space would stand as it is in some programs.
  $("link").href = `#${[...about, ...parts].map((part) => part
    .map((x) => encodeURIComponent(x.toWellFormed?.() ?? x)).join("="))
    .join("&")}`;
}

export function noteTyped(model, texts) {
  const key = inputsOf(model).join("\n");
  const same = (one) => one.key === key
    && one.texts.join("\n") === texts.join("\n");
  typed = [{ key, texts }, ...typed.filter((one) => !same(one))]
    .slice(0, MOST_TYPED);
}

// Buttons that ask an example: of the model's warm-up requests, or typed.
export function showExamples(model, ask) {
  const names = inputsOf(model);
  const given = (model?.examples?.[model.task ?? "serving_default"] ?? [])
    .map((example) => names.map((name) => example[name] ?? ""));
  const own = typed.filter(({ key }) => key === names.join("\n"))
    .map(({ texts }) => texts);
  const all = new Map([...given, ...own].map((x) => [x.join("\n"), x]));
  const shown = [...$("examples").querySelectorAll("button")];
  if ([...all.keys()].join("\0") === shown.map((x) => x.value).join("\0")) {
    return;
  }
  for (const button of shown) button.remove();
  $("examples").append(...[...all].map(([value, texts]) => {
    const button = element("button", cut(texts.join(" / "), 48), {
      type: "button", className: "quiet", value,
    });
    button.addEventListener("click", () => {
      writeTexts(texts);
      ask();
    });
    return button;
  }));
  $("examples").hidden = all.size === 0;
}
