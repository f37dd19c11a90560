import { bootstrap } from "../bootstrap.js";
import { Menu } from "../controls/menu.js";
import { byId, debounce } from "../dom.js";
import { isGridView, SEARCH_FIELDS } from "../query.js";
import { bind } from "../shortcuts.js";
import { t } from "../texts.js";

const TYPED = 150;

/** Search as you type. One search in the history, however many letters it took. */
export function mountSearch({ store, toGrid }) {
  const input = byId("search-input");
  let typing = false;
  const find = (history) => {
    const { view } = store.state;
    const patch = { search: input.value, view: isGridView(view) ? view : "all" };
    store.set(input.value.trim() ? patch : { ...patch, best: true }, history);
  };
  const search = debounce(TYPED, () => {
    typing = false;
    find(store.state.search ? "replace" : "push");
  });
  input.addEventListener("input", () => {
    typing = true;
    search();
  });
  byId("search").addEventListener("submit", (event) => {
    event.preventDefault();
    search.cancel();
    typing = false;
    find("push");
    toGrid();
  });
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") {
      event.preventDefault();
      toGrid();
    }
  });
  store.watch(["search"], (state) => {
    // What was typed since is newer than the state.
    if (!typing && input.value !== state.search) input.value = state.search;
  });
  bind("search", () => {
    input.focus();
    input.select();
  });

  new Menu(byId("search-fields"), () => [
    {
      label: t("search.fields"),
      kind: "check",
      items: SEARCH_FIELDS.map((name) => ({
        label: t(`search.in.${name}`),
        checked: store.state.searchIn.includes(name),
        run: () => {
          const chosen = SEARCH_FIELDS.filter((field) => store.state.searchIn.includes(field) !== (field === name));
          if (chosen.length) store.set({ searchIn: chosen }, "replace");
        },
      })),
    },
    { kind: "check", items: [{ label: t("search.fuzzy"), checked: store.state.fuzzy, run: () => store.set({ fuzzy: !store.state.fuzzy }, "replace") }] },
  ]);
}
