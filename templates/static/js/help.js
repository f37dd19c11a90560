import { openDialog } from "./controls/dialog.js";
import { byId, h } from "./dom.js";
import { bind, boundShortcuts, dispatch, setSingleKeys, singleKeysOn } from "./shortcuts.js";
import { t } from "./texts.js";

const NAMES = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", " ": "␣" };

/** The overlay of all keys, made from the table that runs them. */
export function mountHelp() {
  const open = () => {
    openDialog({ title: t("shortcuts.title"), className: "shortcuts", outside: true },
      h("div", { class: "keys" }, [...boundShortcuts()].map(([group, rows]) => h("section", { class: "keys__group" },
        h("h3", {}, t(`shortcuts.group.${group}`)),
        h("dl", {}, rows.map((row) => h("div", { class: "keys__row" }, h("dt", {}, t(`shortcut.${row.id}`)), h("dd", {}, keysOf(row).map((keys) => h("kbd", {}, keys))))))))),
      singleKeySwitch(),
    );
  };
  bind("help", open);
  byId("help").addEventListener("click", open);
  document.addEventListener("keydown", (event) => {
    if (!document.querySelector("dialog[open]")) dispatch(event, "page");
  });
}

/** The keys of a row; those that are pressed while another is held stand together. */
function keysOf({ keys, ctrl, shift }) {
  const names = keys.map((key) => NAMES[key] ?? label(key));
  const held = [ctrl && t("key.Control"), shift && t("key.Shift")].filter(Boolean);
  return held.length ? [[...held, ...names].join(" ")] : names;
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
