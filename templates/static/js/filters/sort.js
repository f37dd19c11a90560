import { Menu } from "../controls/menu.js";
import { byId } from "../dom.js";
import { BEST, canMatch, SORTS, sortOf } from "../query.js";
import { t } from "../texts.js";

function seed() {
  return String(crypto.getRandomValues(new Uint32Array(1))[0]);
}

export function mountSort({ store }) {
  // `best` is about the search that is there; the next one begins with the best match again.
  const choose = ({ key, order }) => store.set({ best: !canMatch(store.state), sort: key, order, seed: key === "random" ? seed() : "" });

  new Menu(byId("sort-menu"), () => {
    const { state } = store;
    const sort = sortOf(state);
    const best = { label: t(`sort.${BEST}`), checked: sort === BEST, run: () => store.set({ best: true }) };
    const keys = SORTS.map((entry) => ({ label: t(`sort.${entry.key}`), checked: entry.key === sort, run: () => choose(entry) }));
    const sections = [{ label: t("sort.by"), kind: "radio", items: canMatch(state) ? [best, ...keys] : keys }];
    if (sort !== "random" && sort !== BEST) {
      sections.push({ label: t("sort.order"), kind: "radio", items: ["asc", "desc"].map((value) => ({ label: t(`sort.${sort}.${value}`), checked: value === state.order, run: () => store.set({ order: value }) })) });
    }
    return sections;
  });

  const shuffle = byId("shuffle");
  shuffle.addEventListener("click", () => store.set({ seed: seed() }, "replace"));
  store.watch(["sort", "best", "search", "view"], (state) => {
    const sort = sortOf(state);
    byId("sort-name").textContent = t(`sort.${sort}`);
    shuffle.hidden = sort !== "random" || state.view !== "all";
  });
}
