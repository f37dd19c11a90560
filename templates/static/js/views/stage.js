import { isAbort } from "../api.js";
import { byId } from "../dom.js";
import { isGridView } from "../query.js";
import { t } from "../texts.js";
import { forgetTold } from "./duplicates.js";
import { groupsView } from "./groups.js";
import { problemsView } from "./problems.js";

/** Shows the views that aren't the grid: duplicates, file-name conflicts, problems. */
export class Stage {
  #context;
  #view = byId("view");
  #asking = null;

  /** `context`: `{api, store, open, edits}`. */
  constructor(context) {
    this.#context = context;
    context.store.watch(["view"], () => this.refresh());
    context.edits.addEventListener("changed", forgetTold);
  }

  async refresh() {
    this.#asking?.abort();
    const { view } = this.#context.store.state;
    byId("scroller").hidden = !isGridView(view);
    this.#view.hidden = isGridView(view);
    if (isGridView(view)) {
      this.#view.replaceChildren();
      return;
    }
    const { signal } = (this.#asking = new AbortController());
    this.#view.setAttribute("aria-busy", "true");
    try {
      const context = { ...this.#context, retry: () => this.refresh(), signal };
      const content = await (view === "problems" ? problemsView(context) : groupsView(view, context));
      if (signal.aborted) return;
      // What is made anew after a change keeps the focus where it was.
      const focused = this.#view.contains(document.activeElement) ? document.activeElement : null;
      this.#view.replaceChildren(content);
      if (focused) (this.#view.querySelector(`[data-focus="${CSS.escape(focused.dataset.focus ?? "")}"]`) ?? byId("main")).focus();
      this.#view.removeAttribute("aria-busy");
    } catch (error) {
      if (!isAbort(error)) throw error;
    }
  }
}

export function titleOf(view, type) {
  return view === "all" ? type.display_name : t(`places.${view}`);
}
