import { isAbort } from "../api.js";

const PAGE = 100;
const AT_ONCE = 3;

/**
 * The models that are chosen, by their paths, so that they stay chosen when the list is sorted or filtered. Events:
 * `change` when the choice, the mode or how far a gathering is changed, `fail` (detail: the error).
 */
export class Selection extends EventTarget {
  #api;
  #source;
  #paths = new Set();
  #on = false;
  // Where a range begins, and what was chosen before it.
  #anchor = -1;
  #before = new Set();
  #gathering = null;
  /** While paths are gathered from the server: how many of how many there are, else null. */
  progress = null;

  constructor({ api, source }) {
    super();
    this.#api = api;
    this.#source = source;
  }

  /** Whether models are being chosen. */
  get on() {
    return this.#on;
  }

  get size() {
    return this.#paths.size;
  }

  get paths() {
    return [...this.#paths];
  }

  has(path) {
    return this.#paths.has(path);
  }

  start() {
    this.#on = true;
    this.#changed();
  }

  end() {
    if (!this.#on) return;
    this.#gathering?.abort();
    this.#on = false;
    this.#paths.clear();
    this.#anchor = -1;
    this.#changed();
  }

  /** These are no longer where they were chosen. Without any left the mode ends. */
  drop(paths) {
    const before = this.#paths.size;
    for (const path of paths) {
      this.#paths.delete(path);
      this.#before.delete(path);
    }
    if (this.#paths.size === before) return;
    if (this.#paths.size) this.#changed();
    else this.end();
  }

  /** Chooses the model at `index`, or no longer; a range begins there. */
  toggle(index) {
    const path = this.#source.item(index)?.file_path;
    if (!path) return;
    this.#on = true;
    if (!this.#paths.delete(path)) this.#paths.add(path);
    this.#begin(index);
    this.#changed();
  }

  /** Chooses from where the last range begins (`from` if there is none) to `index`, in place of the range before. */
  async extend(index, from = index) {
    if (this.#anchor < 0) this.#begin(from);
    this.#on = true;
    const [first, last] = [Math.min(this.#anchor, index), Math.max(this.#anchor, index)];
    const paths = this.#loaded(first, last) ?? (await this.#gather(first, last));
    if (!paths) return;
    this.#paths = new Set([...this.#before, ...paths]);
    this.#changed();
  }

  /** Chooses every model of the list, also those that were not loaded yet. */
  async all() {
    this.#on = true;
    const last = (this.#source.total ?? 0) - 1;
    const paths = this.#loaded(0, last) ?? (await this.#gather(0, last));
    if (!paths) return;
    this.#paths = new Set([...this.#paths, ...paths]);
    this.#changed();
  }

  #begin(index) {
    this.#anchor = index;
    this.#before = new Set(this.#paths);
  }

  #loaded(first, last) {
    const paths = [];
    for (let index = first; index <= last; index += 1) {
      const item = this.#source.item(index);
      if (!item) return null;
      paths.push(item.file_path);
    }
    return paths;
  }

  async #gather(first, last) {
    this.#gathering?.abort();
    const { signal } = (this.#gathering = new AbortController());
    const { route, params } = this.#source.question;
    const pages = new Map();
    let next = Math.floor(first / PAGE);
    const end = Math.floor(last / PAGE);
    const count = end - next + 1;
    const work = async () => {
      while (next <= end) {
        const number = next;
        next += 1;
        const asked = new URLSearchParams(params);
        asked.set("page", number + 1);
        asked.set("page_size", PAGE);
        const { items } = await this.#api.get(route, asked, signal);
        pages.set(number, items.map((item) => item.file_path));
        this.#progress({ done: Math.min(pages.size * PAGE, last - first + 1), of: last - first + 1 });
      }
    };
    try {
      await Promise.all(Array.from({ length: Math.min(AT_ONCE, count) }, work));
    } catch (error) {
      this.#gathering.abort();
      if (!isAbort(error)) this.dispatchEvent(new CustomEvent("fail", { detail: error }));
      return null;
    } finally {
      if (!signal.aborted || !this.#on) this.#progress(null);
    }
    const start = Math.floor(first / PAGE) * PAGE;
    return [...pages.keys()].sort((a, b) => a - b).flatMap((number) => pages.get(number)).slice(first - start, last - start + 1);
  }

  #progress(progress) {
    this.progress = progress;
    this.#changed();
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
