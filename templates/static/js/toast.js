import { byId, h } from "./dom.js";

const SHOWN = 3200;

/** A short message that goes by itself; screen readers hear it. */
export function toast(text) {
  const element = h("p", { class: "toast" }, text);
  // Everything outside an open dialog is inert, so each dialog has a place of its own.
  const place = document.querySelector("dialog[open] .toasts") ?? byId("toasts");
  place.append(element);
  setTimeout(() => element.remove(), SHOWN);
}
