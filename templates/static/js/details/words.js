import { copy } from "../controls/copy-button.js";
import { h, icon } from "../dom.js";
import { t } from "../texts.js";

/** Trigger words without the empty ones; several may stand in one text. */
export function triggerWords(item, metadata) {
  const words = item.civitai?.trainedWords ?? metadata?.trainedWords ?? [];
  return words.map((word) => String(word).trim()).filter(Boolean);
}

export function wordsSection(words) {
  if (!words.length) return null;
  return h("section", { class: "details__section" },
    h("div", { class: "details__line" },
      h("h3", {}, t("details.words")),
      h("button", { class: "button button--quiet button--small", type: "button", "aria-keyshortcuts": "c", onclick: () => copy(words.join(", ")) }, icon("copy"), t("copy.all"))),
    h("ul", { class: "words" }, words.map((word) => h("li", {}, h("button", { class: "word", type: "button", title: t("copy.word"), "aria-label": t("copy.wordNamed", { word }), onclick: () => copy(word) }, word)))));
}
