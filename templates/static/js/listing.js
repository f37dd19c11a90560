import { bootstrap } from "./bootstrap.js";
import { byId, debounce } from "./dom.js";
import { cleared, isFiltered, isGridView, QUESTION_KEYS, toApi } from "./query.js";
import { emptyExcluded, emptyFilter, emptyLibrary, failure, initializing } from "./status/notices.js";
import { tn } from "./texts.js";
import { titleOf } from "./views/stage.js";

const SPOKEN_AFTER = 400;

/** Turns the state into the list that is asked for, and says what stands in the place of a list that isn't there. */
export function mountListing({ store, source, grid, facts }) {
  let asked = null;
  const ask = (again = false) => {
    const { state } = store;
    if (!isGridView(state.view)) return;
    const params = toApi(state, facts.bases?.map(({ name }) => name) ?? null);
    const question = params && `${state.view}?${params}`;
    if (question === asked && !again) return;
    asked = question;
    store.set({ total: null, listError: null });
    source.ask(state.view === "excluded" ? "excluded" : "list", params);
    grid.reset();
  };
  store.watch(QUESTION_KEYS, () => ask());
  // Which base models there are is part of the question when one is excluded.
  facts.addEventListener("change", () => ask());

  source.addEventListener("total", ({ detail }) => store.set({ total: detail, listError: null }));
  source.addEventListener("items", () => store.set({ listError: null }));
  source.addEventListener("fail", ({ detail }) => store.set({ listError: detail }));
  source.addEventListener("waiting", ({ detail }) => store.set({ waiting: detail }));

  mountCount(store);
  // What is shown already stays where it is.
  const retry = () => (store.state.total === null ? ask(true) : source.reload());
  mountNotice(store, retry);
  return { retry, again: () => ask(true) };
}

function mountCount(store) {
  const count = byId("count");
  // Typing changes it with every letter; it is said once, when it rests.
  const say = debounce(SPOKEN_AFTER, (text) => {
    count.textContent = text;
  });
  store.watch(["total", "view", "status"], ({ total, view, status }) => {
    const unsaid = total === null || !isGridView(view) || (total === 0 && status?.is_initializing);
    const text = unsaid ? "" : tn("count", total);
    if (text !== count.textContent) say(text);
    else say.cancel();
    count.hidden = !isGridView(view);
  });
  store.watch(["view"], ({ view }) => {
    byId("title").textContent = titleOf(view, bootstrap.type);
    byId("sort-menu").hidden = !isGridView(view);
    byId("display-menu").hidden = !isGridView(view);
  });
}

function mountNotice(store, retry) {
  const place = byId("notice");
  let shown = null;
  let progress = null;

  const show = (kind, make) => {
    byId("scroller").classList.toggle("scroller--covered", kind !== null);
    place.hidden = kind === null;
    if (kind === shown) return;
    shown = kind;
    place.replaceChildren(...(kind === null ? [] : [make()]));
  };

  store.watch(["status", "total", "listError", "waiting", "view", ...QUESTION_KEYS], (state) => {
    const { status, total, listError, waiting, view } = state;
    if (!isGridView(view)) return show(null);
    const busy = waiting || Boolean(status?.is_initializing);
    if (busy && !total) {
      progress ??= initializing();
      progress.update(status);
      return show("initializing", () => progress.element);
    }
    if (listError && total === null) return show(`error ${listError.message}`, () => failure(listError, retry));
    if (total !== 0) return show(null);
    if (view === "excluded") return show("excluded", emptyExcluded);
    if (isFiltered(state) || state.search) return show("nothing", () => emptyFilter(() => store.set(cleared())));
    return show(`empty ${JSON.stringify(status?.roots ?? [])}`, () => emptyLibrary(status));
  });
}
