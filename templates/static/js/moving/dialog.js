import { h, icon } from "../dom.js";
import { t } from "../texts.js";

let count = 0;

/** The frame of a dialog of several steps: a title, a body, buttons, and a place for what is said. It is gone when closed. */
export function openDialog({ title, className = "", onClose = () => {} }) {
  const id = `dialog-${(count += 1)}`;
  const body = h("div", { class: "move__body" });
  const outcome = h("div", { class: "plan", "aria-live": "polite" });
  const buttons = h("div", { class: "bulk-dialog__buttons" });
  const dialog = h("dialog", { class: `sheet bulk-dialog ${className}`, "aria-labelledby": id },
    h("div", { class: "sheet__head" },
      h("h2", { class: "sheet__title", id }, title),
      h("button", { class: "button button--bare", type: "button", "aria-label": t("shortcuts.close"), onclick: () => dialog.close() }, icon("close"))),
    body, outcome, buttons);
  dialog.addEventListener("close", () => {
    onClose();
    dialog.remove();
  });
  document.body.append(dialog);
  dialog.showModal();
  return { dialog, body, outcome, buttons };
}

/** A button of a dialog's last row. */
export function dialogButton(label, run, filled = false) {
  return h("button", { class: `button ${filled ? "button--filled" : "button--quiet"}`, type: "button", onclick: run }, label);
}
