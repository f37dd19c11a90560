import { byId, h } from "./dom.js";

const SHOWN = 3200;
// Time to read, decide and reach the button.
const SHOWN_WITH_ACTION = 10_000;

/**
 * A short message that goes by itself; screen readers hear it. With `action` (`{label, run}`) it has a button and stays
 * longer, and as long as the pointer or the focus is on it; `bad` says that something failed. Returns what takes it away.
 */
export function toast(text, { action = null, bad = false } = {}) {
  const button = action && h("button", { class: "toast__action", type: "button" }, action.label);
  const element = h("div", { class: bad ? "toast toast--bad" : "toast" }, h("span", {}, text), button);
  // Everything outside an open dialog is inert, so each dialog has a place of its own.
  const dialog = document.querySelector("dialog[open]:has(.toasts)");
  const move = () => byId("toasts").append(element);
  dialog?.addEventListener("close", move, { once: true });
  (dialog?.querySelector(".toasts") ?? byId("toasts")).append(element);

  let timer = 0;
  const remove = () => {
    clearTimeout(timer);
    dialog?.removeEventListener("close", move);
    element.remove();
  };
  const start = () => {
    clearTimeout(timer);
    timer = setTimeout(remove, action || bad ? SHOWN_WITH_ACTION : SHOWN);
  };
  button?.addEventListener("click", () => {
    remove();
    action.run();
  });
  for (const event of ["pointerenter", "focusin"]) element.addEventListener(event, () => clearTimeout(timer));
  for (const event of ["pointerleave", "focusout"]) element.addEventListener(event, start);
  start();
  return remove;
}
