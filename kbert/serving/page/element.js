export const $ = (id) => document.getElementById(id);

export function element(tag, text = "", attributes = {}) {
  const made = Object.assign(document.createElement(tag), attributes);
  made.textContent = text;
  return made;
}

export function percent(value) {
  return typeof value === "number" ? `${(100 * value).toFixed(2)}%` : null;
}
