import { byId, h, icon } from "../dom.js";
import { bootstrap } from "../bootstrap.js";
import { baseName } from "../grid/card.js";
import { cleared, UNTAGGED } from "../query.js";
import { t } from "../texts.js";

const labels = new Map(bootstrap.type.sub_types.map(({ id, label }) => [id, label]));

/** Every active filter as a chip that takes it away. */
export function mountChips({ store }) {
  const list = byId("chips");
  store.watch(["view", "folder", "bases", "basesNot", "tags", "tagsNot", "subTypes", "favorites", "updates", "search"], (state) => {
    const chips = state.view === "all" ? describe(state) : [];
    const focused = list.contains(document.activeElement);
    list.hidden = chips.length === 0;
    list.replaceChildren(
      ...chips.map(({ text, not, patch }) => h("li", {}, h("button", { class: not ? "chip chip--not" : "chip", type: "button", "aria-label": t("chips.remove", { name: text }), onclick: () => store.set(patch) }, h("span", { class: "chip__text" }, text), icon("close")))),
      chips.length > 1 ? h("li", {}, h("button", { class: "chip chip--clear", type: "button", onclick: () => store.set(cleared()) }, t("chips.clear"))) : "",
    );
    byId("filters-dot").hidden = chips.length === 0;
    if (focused) (list.querySelector("button") ?? byId("filters-toggle")).focus();
  });
}

function describe(state) {
  const each = (key, text, not) => state[key].map((value) => ({ text: text(value), not, patch: { [key]: state[key].filter((entry) => entry !== value) } }));
  const not = (text) => (value) => t("chips.not", { name: text(value) });
  const tag = (name) => (name === UNTAGGED ? t("tags.none") : `#${name}`);
  return [
    ...(state.favorites ? [{ text: t("filters.favorites"), patch: { favorites: false } }] : []),
    ...(state.updates ? [{ text: t("filters.updates"), patch: { updates: false } }] : []),
    ...(state.folder !== null ? [{ text: state.folder, patch: { folder: null } }] : []),
    ...each("bases", baseName),
    ...each("basesNot", not(baseName), true),
    ...each("subTypes", (id) => labels.get(id) ?? id),
    ...each("tags", tag),
    ...each("tagsNot", not(tag), true),
  ];
}
