import { byId, h, icon } from "./dom.js";
import { bind, boundShortcuts, dispatch, setSingleKeys, singleKeysOn } from "./shortcuts.js";
import { t } from "./texts.js";

const NAMES = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", " ": "␣" };

/** The overlay of all keys, made from the table that runs them. */
export function mountHelp() {
  const dialog = byId("shortcuts");
  const open = () => {
    dialog.replaceChildren(
      h("div", { class: "sheet__head" },
        h("h2", { class: "sheet__title", id: "shortcuts-title" }, t("shortcuts.title")),
        h("button", { class: "button button--bare", type: "button", "aria-label": t("shortcuts.close"), onclick: () => dialog.close() }, icon("close"))),
      h("div", { class: "keys" }, [...boundShortcuts()].map(([group, rows]) => h("section", { class: "keys__group" },
        h("h3", {}, t(`shortcuts.group.${group}`)),
        h("dl", {}, rows.map((row) => h("div", { class: "keys__row" }, h("dt", {}, t(`shortcut.${row.id}`)), h("dd", {}, row.keys.map((key) => h("kbd", {}, `${held(row)}${NAMES[key] ?? label(key)}`))))))))),
      singleKeySwitch(),
    );
    dialog.showModal();
  };
  bind("help", open);
  byId("help").addEventListener("click", open);
  dialog.addEventListener("click", ({ target }) => {
    if (target === dialog) dialog.close();
  });
  document.addEventListener("keydown", (event) => {
    if (!document.querySelector("dialog[open]")) dispatch(event, "page");
  });
}

/** The key that is held down meanwhile. */
function held({ ctrl, shift }) {
  return [ctrl && `${t("key.Control")} `, shift && `${t("key.Shift")} `].filter(Boolean).join("");
}

function label(key) {
  return key.length === 1 ? key.toUpperCase() : t(`key.${key}`);
}

function singleKeySwitch() {
  const button = h("button", { class: "switch", type: "button", role: "switch", "aria-checked": String(singleKeysOn()) },
    h("span", { class: "switch__name" }, t("shortcuts.single")), h("span", { class: "switch__track", "aria-hidden": "true" }));
  button.addEventListener("click", () => {
    setSingleKeys(!singleKeysOn());
    button.setAttribute("aria-checked", String(singleKeysOn()));
  });
  return button;
}
