import { isAbort } from "../api.js";

const TOP_TAGS = 40;
const FOUND_TAGS = 60;

/** What there is to filter by. `change` when it was fetched (again). */
export class Facts extends EventTarget {
  #api;
  #kinds;
  #loading = null;
  bases = null;
  tags = null;
  subTypes = null;
  tree = null;

  /** `kinds`: which of base-model, tag, sub-type and folder the type has. */
  constructor(api, kinds) {
    super();
    this.#api = api;
    this.#kinds = kinds;
  }

  async load() {
    this.#loading?.abort();
    const { signal } = (this.#loading = new AbortController());
    const ask = (kind, route, params, take) => this.#kinds.has(kind) && this.#api.getWhenReady(route, params, signal).then(take);
    try {
      await Promise.all([
        // All of them: excluding a base model is asked as "any other" (see query.js).
        ask("base-model", "base-models", { limit: 0 }, (answer) => (this.bases = answer.base_models)),
        ask("tag", "top-tags", { limit: TOP_TAGS }, (answer) => (this.tags = answer.tags)),
        ask("sub-type", "model-types", { limit: 100 }, (answer) => (this.subTypes = answer.model_types)),
        ask("folder", "unified-folder-tree", {}, (answer) => (this.tree = answer.tree)),
      ]);
    } catch (error) {
      if (isAbort(error)) return;
      // The list itself reports a server that fails; filters that were there stay.
    }
    this.dispatchEvent(new Event("change"));
  }

  async findTags(text, signal) {
    const answer = await this.#api.get("search-tags", { q: text, limit: FOUND_TAGS }, signal);
    return answer.tags;
  }
}
