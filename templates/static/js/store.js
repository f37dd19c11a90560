/**
 * The page's state in one frozen object. A change is one `change` event that names the changed keys; how it
 * shows in the browser's history (`push`, `replace` or `none`) travels with it.
 */
export class Store extends EventTarget {
  #state;

  constructor(initial) {
    super();
    this.#state = Object.freeze({ ...initial });
  }

  get state() {
    return this.#state;
  }

  set(patch, history = "push") {
    const changed = new Set(Object.keys(patch).filter((key) => !same(patch[key], this.#state[key])));
    if (!changed.size) return;
    this.#state = Object.freeze({ ...this.#state, ...patch });
    this.dispatchEvent(new CustomEvent("change", { detail: { changed, history } }));
  }

  /** Calls `run(state)` now and whenever one of `keys` changes. */
  watch(keys, run) {
    this.addEventListener("change", ({ detail }) => {
      if (keys.some((key) => detail.changed.has(key))) run(this.#state);
    });
    run(this.#state);
  }
}

function same(a, b) {
  return a === b || (typeof a === "object" && typeof b === "object" && JSON.stringify(a) === JSON.stringify(b));
}
