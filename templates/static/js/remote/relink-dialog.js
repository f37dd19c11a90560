import { whileBusy } from "../controls/busy.js";
import { openDialog } from "../controls/dialog.js";
import { h } from "../dom.js";
import { named } from "../downloads/address.js";
import { nameOf } from "../editing/edits.js";
import { reasonOf } from "../reason.js";
import { t } from "../texts.js";

/** Asks which page of the provider a model is, and links it. */
export function relinkDialog({ item, edits }) {
  const input = h("input", { class: "edit__input", type: "text", id: "relink-value", autocomplete: "off", spellcheck: "false", "aria-describedby": "relink-help" });
  const outcome = h("p", { class: "edit__error", role: "alert" });
  const go = h("button", { class: "button button--filled", type: "submit" }, t("relink.do"));
  const close = () => dialog.close();
  const check = () => {
    outcome.textContent = "";
    go.disabled = !named(input.value)?.model_id;
  };
  input.addEventListener("input", check);
  const link = async (event) => {
    event.preventDefault();
    const wanted = named(input.value);
    if (!wanted?.model_id) return;
    await whileBusy([go], async () => {
      try {
        await edits.relink(item, wanted);
        close();
      } catch (error) {
        outcome.textContent = reasonOf(error);
      }
    });
  };
  const dialog = openDialog({ title: t("relink.title", { name: nameOf(item) }), className: "bulk-dialog" },
    h("form", { class: "bulk-dialog__form", onsubmit: link },
      h("label", { class: "bulk-dialog__label", for: "relink-value" }, t("relink.label")), input,
      h("p", { class: "edit__status", id: "relink-help" }, t("relink.help")), outcome,
      h("div", { class: "bulk-dialog__buttons" }, h("button", { class: "button button--quiet", type: "button", onclick: close }, t("plan.cancel")), go)));
  check();
  input.focus();
}
