const SVG = "http://www.w3.org/2000/svg";

/**
 * Makes an element. `props`: `class`, `on<event>` handlers, `true`/`false` attributes, everything else as text.
 * Text children become text nodes, so nothing that a file name or a provider says is ever read as markup.
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function icon(name, className = "icon") {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", className);
  svg.setAttribute("viewBox", "0 0 20 20");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

export function byId(id) {
  return document.getElementById(id);
}

export function debounce(delay, run) {
  let timer = 0;
  const later = (...args) => {
    clearTimeout(timer);
    timer = setTimeout(run, delay, ...args);
  };
  later.cancel = () => clearTimeout(timer);
  return later;
}

export function calm() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

/** A stable small number for a text: colours that stay with a name. */
export function hash(text) {
  let value = 2166136261;
  for (let i = 0; i < text.length; i += 1) value = Math.imul(value ^ text.charCodeAt(i), 16777619);
  return value >>> 0;
}

/** `text` as nodes that may break into lines after the separators of file names, so that words and numbers stay whole. */
export function breakable(text) {
  return text.split(/(?<=[/\\_.-])/).flatMap((part, at) => (at ? [h("wbr"), part] : [part]));
}

/** `text` as a URL if it is one of the web's own schemes, else null: a sidecar may hold anything as a link. */
export function webAddress(text) {
  if (!text || !URL.canParse(text)) return null;
  const url = new URL(text);
  return url.protocol === "https:" || url.protocol === "http:" ? url : null;
}
