import { h, icon } from "../dom.js";
import { t } from "../texts.js";
import { toast } from "../toast.js";

let count = 0;

/** Opens a dialog: a title and a cross above `content`. It is gone when closed. `outside`: a click beside it closes it too. */
export function openDialog({ title, className = "", outside = false, onClose = () => {} }, ...content) {
  const id = `dialog-${(count += 1)}`;
  const dialog = h("dialog", { class: `sheet ${className}`.trim(), "aria-labelledby": id },
    h("div", { class: "sheet__head" },
      h("h2", { class: "sheet__title", id }, title),
      h("button", { class: "button button--bare", type: "button", "aria-label": t("shortcuts.close"), onclick: () => dialog.close() }, icon("close"))),
    ...content);
  dialog.addEventListener("close", () => {
    onClose();
    dialog.remove();
  });
  if (outside) dialog.addEventListener("click", (event) => event.target === dialog && isBeside(event) && dialog.close());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

// The dialog's own padding is not beside it.
function isBeside({ target, clientX: x, clientY: y }) {
  const { left, right, top, bottom } = target.getBoundingClientRect();
  return x < left || x > right || y < top || y > bottom;
}

/**
 * A dialog of several steps: a body, a place for what is said, and buttons. `tell(text, ...nodes)` says that something
 * failed: with `nodes` in the dialog, and with `text` in a toast when a person has closed it.
 */
export function openSteps({ title, onClose }) {
  const body = h("div", { class: "move__body" });
  const outcome = h("div", { class: "plan", "aria-live": "polite" });
  const buttons = h("div", { class: "bulk-dialog__buttons" });
  const dialog = openDialog({ title, className: "bulk-dialog move", onClose }, body, outcome, buttons);
  const tell = (text, ...nodes) => {
    if (dialog.open) outcome.replaceChildren(...(nodes.length ? nodes : [h("p", { class: "callout callout--bad", role: "alert" }, text)]));
    else toast(text, { bad: true });
  };
  return { dialog, body, outcome, buttons, tell };
}

/** A button of a dialog's last row. */
export function dialogButton(label, run, filled = false) {
  return h("button", { class: `button ${filled ? "button--filled" : "button--quiet"}`, type: "button", onclick: run }, label);
}
