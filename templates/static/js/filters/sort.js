import { Menu } from "../controls/menu.js";
import { byId } from "../dom.js";
import { SORTS } from "../query.js";
import { t } from "../texts.js";

function seed() {
  return String(crypto.getRandomValues(new Uint32Array(1))[0]);
}

export function mountSort({ store }) {
  const choose = ({ key, order }) => store.set({ sort: key, order, seed: key === "random" ? seed() : "" });

  new Menu(byId("sort-menu"), () => {
    const { sort, order } = store.state;
    const sections = [{ label: t("sort.by"), kind: "radio", items: SORTS.map((entry) => ({ label: t(`sort.${entry.key}`), checked: entry.key === sort, run: () => choose(entry) })) }];
    if (sort !== "random") {
      sections.push({ label: t("sort.order"), kind: "radio", items: ["asc", "desc"].map((value) => ({ label: t(`sort.${sort}.${value}`), checked: value === order, run: () => store.set({ order: value }) })) });
    }
    return sections;
  });

  const shuffle = byId("shuffle");
  shuffle.addEventListener("click", () => store.set({ seed: seed() }, "replace"));
  store.watch(["sort", "view"], ({ sort, view }) => {
    byId("sort-name").textContent = t(`sort.${sort}`);
    shuffle.hidden = sort !== "random" || view !== "all";
  });
}
