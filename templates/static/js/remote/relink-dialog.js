import { h, icon } from "../dom.js";
import { nameOf, reasonOf } from "../editing/edits.js";
import { t } from "../texts.js";

/** `{model, version}` of an address of a model's page, or of a number; null for anything else. */
export function linkOf(text) {
  const trimmed = text.trim();
  if (/^\d+$/.test(trimmed)) return { model: Number(trimmed), version: null };
  const model = /\/models\/(\d+)/.exec(trimmed);
  if (!model) return null;
  const version = /[?&]modelVersionId=(\d+)/.exec(trimmed);
  return { model: Number(model[1]), version: version ? Number(version[1]) : null };
}

/** Asks which page of the provider a model is, and links it. */
export function relinkDialog({ item, edits }) {
  const dialog = h("dialog", { class: "sheet bulk-dialog", "aria-labelledby": "relink-title" });
  const input = h("input", { class: "edit__input", type: "text", id: "relink-value", autocomplete: "off", spellcheck: "false", "aria-describedby": "relink-help" });
  const outcome = h("p", { class: "edit__error", role: "alert" });
  const go = h("button", { class: "button button--filled", type: "submit" }, t("relink.do"));
  const close = () => dialog.close();
  const check = () => {
    outcome.textContent = "";
    go.disabled = !linkOf(input.value);
  };
  input.addEventListener("input", check);
  const link = async (event) => {
    event.preventDefault();
    const wanted = linkOf(input.value);
    if (!wanted) return;
    go.disabled = true;
    try {
      await edits.relink(item, wanted);
      close();
    } catch (error) {
      outcome.textContent = reasonOf(error);
      go.disabled = false;
    }
  };
  dialog.append(
    h("div", { class: "sheet__head" },
      h("h2", { class: "sheet__title", id: "relink-title" }, t("relink.title", { name: nameOf(item) })),
      h("button", { class: "button button--bare", type: "button", "aria-label": t("shortcuts.close"), onclick: close }, icon("close"))),
    h("form", { class: "bulk-dialog__form", onsubmit: link },
      h("label", { class: "bulk-dialog__label", for: "relink-value" }, t("relink.label")), input,
      h("p", { class: "edit__status", id: "relink-help" }, t("relink.help")), outcome,
      h("div", { class: "bulk-dialog__buttons" }, h("button", { class: "button button--quiet", type: "button", onclick: close }, t("plan.cancel")), go)),
  );
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  check();
  dialog.showModal();
  input.focus();
}
