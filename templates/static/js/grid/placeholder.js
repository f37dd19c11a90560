import { hash, h } from "../dom.js";

const WORD = /[\p{L}\p{N}]+/gu;

/**
 * A picture for a model without one: its initials on a gradient that stays the same for the name. `note` says why there
 * is none where that isn't plain.
 */
export function placeholder(name, note = "") {
  const number = hash(name);
  const element = h("span", { class: "placeholder" }, h("span", { class: "placeholder__text", "aria-hidden": "true" }, initials(name)), note && h("span", { class: "placeholder__note" }, note));
  element.style.setProperty("--hue", String(number % 360));
  element.style.setProperty("--turn", `${(number >>> 9) % 360}deg`);
  element.style.setProperty("--x", `${(number >>> 4) % 100}%`);
  element.style.setProperty("--y", `${(number >>> 14) % 100}%`);
  return element;
}

function initials(name) {
  const words = name.match(WORD) ?? [];
  if (!words.length) return "·";
  const letters = words.length === 1 ? [...words[0]].slice(0, 2) : [[...words[0]][0], [...words[1]][0]];
  return letters.join("").toUpperCase();
}
