export const $ = (id) => document.getElementById(id);

export function element(tag, text = "", attributes = {}) {
  const made = Object.assign(document.createElement(tag), attributes);
  made.textContent = text;
  return made;
}

// A number beside what it is about: screen readers read it, and the eye sees
// it where the mouse, a finger or the keyboard is.
export const value = (text) => element("span", ` ${text} `, {
  className: "value",
});

export function percent(number) {
  return typeof number === "number" ? `${(100 * number).toFixed(2)}%` : null;
}

export function signed(number) {
  return `${number > 0 ? "+" : number < 0 ? "−" : ""}${
    Math.abs(number).toFixed(4)}`;
}

export function cut(text, most) {
  const characters = [...text];
  return characters.length > most
    ? `${characters.slice(0, most).join("")}…` : text;
}

// One stop for the Tab key; arrows, Home and End go from part to part.
export function walk(container, selector) {
  const parts = [...container.querySelectorAll(selector)];
  parts.forEach((part, i) => { part.tabIndex = i ? -1 : 0; });
  container.onkeydown = (event) => {
    const here = parts.indexOf(document.activeElement);
    const there = {
      ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0,
      End: parts.length - 1,
    }[event.key];
    if (here < 0 || !parts[there]) return;
    event.preventDefault();
    parts[here].tabIndex = -1;
    parts[there].tabIndex = 0;
    parts[there].focus();
  };
}
