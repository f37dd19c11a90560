import { isAbort } from "../api.js";
import { copyButton } from "../controls/copy-button.js";
import { h } from "../dom.js";
import { Card } from "../grid/card.js";
import { TILES } from "../grid/geometry.js";
import { failure, plainNotice } from "../status/notices.js";
import { bytes, number, t, tn } from "../texts.js";
import { copies } from "./duplicates.js";

const STEP = 30;

const KINDS = {
  duplicates: {
    glyph: "copies",
    route: "find-duplicates",
    groups: (answer) => answer.duplicates.map(({ hash, models }) => ({ title: hash.slice(0, 12), copy: hash, models })),
    content: (group, context) => copies({ hash: group.copy, cards: group.cards }, context),
    // What one copy less of each would free.
    spare: (groups) => groups.reduce((sum, { models }) => sum + models.slice(1).reduce((part, model) => part + model.file_size, 0), 0),
  },
  conflicts: {
    glyph: "clash",
    route: "find-filename-conflicts",
    groups: (answer) => answer.conflicts.map(({ filename, models }) => ({ title: filename, copy: filename, models })),
  },
};

/** Models that belong together: the same content, or the same file name. */
export async function groupsView(name, { api, store, open, edits, retry, signal }) {
  const kind = KINDS[name];
  let groups;
  try {
    groups = kind.groups(await api.getWhenReady(kind.route, {}, signal));
  } catch (error) {
    if (isAbort(error)) throw error;
    return failure(error, retry);
  }
  if (!groups.length) return plainNotice(kind.glyph, t(`${name}.none`), t(`${name}.noneText`));

  const list = h("div", { class: "groups" });
  const more = h("button", { class: "button button--quiet", type: "button" });
  let shown = 0;
  const add = () => {
    list.append(...groups.slice(shown, shown + STEP).map((group) => section(group, kind, { store, open, edits, signal })));
    shown = Math.min(groups.length, shown + STEP);
    more.hidden = shown >= groups.length;
    more.textContent = t("groups.more", { n: number(groups.length - shown) });
  };
  more.addEventListener("click", add);
  add();
  const sum = kind.spare ? t("duplicates.spare", { size: bytes(kind.spare(groups)) }) : t("conflicts.why");
  return h("div", {}, h("p", { class: "view__lead" }, tn(`${name}.count`, groups.length), " ", sum), list, more);
}

function section({ title, copy, models }, kind, { store, open, edits, signal }) {
  const cards = models.map((model) => {
    const card = new Card(() => store.state, kind.content ? "presentation" : "listitem");
    card.show(model, true, TILES.medium.min);
    // The signal ends when the view is left or made anew.
    signal.addEventListener("abort", () => card.dispose(), { once: true });
    card.link.tabIndex = 0;
    card.link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      open(model);
    });
    if (!kind.content) card.element.append(h("span", { class: "group__where", title: model.file_path }, model.folder || t("folders.root")));
    return [model, card.element];
  });
  const content = kind.content?.({ copy, cards }, { edits, signal }) ?? [h("div", { class: "group__cards", role: "list" }, cards.map(([, element]) => element))];
  return h("section", { class: "group" },
    h("h2", { class: "group__title" }, h("code", {}, title), copyButton(copy, t("copy.value")), h("span", { class: "group__count" }, tn("count", models.length))),
    ...content);
}
