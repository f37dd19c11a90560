import { isAbort } from "../api.js";

const PAGE = 100;
const KEPT = 40;

/**
 * The listed models as a sparse array: pages of 100, fetched where they are looked at, dropped when far away.
 * Events: `total` (count known or changed), `items` (detail: first and last index that arrived), `fail` (detail: the
 * error), `waiting` (detail: whether the server says that the type isn't ready).
 */
export class Source extends EventTarget {
  #api;
  #route = "list";
  #params = null;
  #pages = new Map();
  #fetching = new Map();
  #wanted = [0, 0];
  total = null;

  constructor(api) {
    super();
    this.#api = api;
  }

  /** Asks another question: forgets everything and fetches the first page. */
  ask(route, params) {
    this.#abortAll();
    this.#route = route;
    this.#params = params;
    this.#pages.clear();
    this.#wanted = [0, 0];
    this.total = null;
    if (params) this.#fetch(0);
  }

  /** What is asked now: `{route, params}`; `params` is null while they can't be known. */
  get question() {
    return { route: this.#route, params: this.#params };
  }

  /** Asks the same again, as something changed; what is shown stays until the answer is there. */
  reload() {
    if (!this.#params) return;
    this.#abortAll();
    const [from, to] = this.#wanted;
    for (const [number, page] of this.#pages) {
      if (number < from || number > to) this.#pages.delete(number);
      else page.old = true;
    }
    this.#need();
  }

  item(index) {
    return this.#pages.get(Math.floor(index / PAGE))?.items[index % PAGE] ?? null;
  }

  indexOf(filePath) {
    for (const [number, page] of this.#pages) {
      const at = page.items.findIndex((item) => item.file_path === filePath);
      if (at >= 0) return number * PAGE + at;
    }
    return -1;
  }

  /** Says that `first..last` are looked at; requests for other parts are cancelled. */
  look(first, last) {
    this.#wanted = [Math.floor(Math.max(0, first) / PAGE), Math.floor(Math.max(0, last) / PAGE)];
    this.#need();
  }

  /** The item at `index`, fetched if need be; null when it can't be had. */
  async load(index) {
    if (!this.item(index)) await this.#fetch(Math.floor(index / PAGE));
    return this.item(index);
  }

  #need() {
    const [from, to] = this.#wanted;
    for (const [number, request] of this.#fetching) {
      if (number >= from - 1 && number <= to + 1) continue;
      request.abort.abort();
      this.#fetching.delete(number);
    }
    const end = this.total === null ? 0 : Math.max(0, Math.ceil(this.total / PAGE) - 1);
    for (let number = Math.min(from, end); number <= Math.min(to, end); number += 1) {
      const page = this.#pages.get(number);
      if (!page || page.old) this.#fetch(number);
    }
  }

  #fetch(number) {
    const running = this.#fetching.get(number);
    if (running) return running.done;
    const abort = new AbortController();
    const done = this.#load(number, abort.signal).finally(() => {
      if (this.#fetching.get(number)?.abort === abort) this.#fetching.delete(number);
    });
    this.#fetching.set(number, { abort, done });
    return done;
  }

  async #load(number, signal) {
    const params = new URLSearchParams(this.#params);
    params.set("page", number + 1);
    params.set("page_size", PAGE);
    try {
      const answer = await this.#api.getWhenReady(this.#route, params, signal, (waiting) => this.#emit("waiting", waiting));
      this.#keep(number, answer);
    } catch (error) {
      if (!isAbort(error)) this.#emit("fail", error);
    }
  }

  #keep(number, answer) {
    this.#pages.delete(number);
    this.#pages.set(number, { items: answer.items, old: false });
    this.#forget();
    const first = number * PAGE;
    if (answer.total !== this.total) {
      this.total = answer.total;
      this.#emit("total", answer.total);
    }
    this.#emit("items", [first, first + answer.items.length - 1]);
  }

  #forget() {
    const [from, to] = this.#wanted;
    for (const number of this.#pages.keys()) {
      if (this.#pages.size <= KEPT) return;
      if (number < from || number > to) this.#pages.delete(number);
    }
  }

  #abortAll() {
    for (const request of this.#fetching.values()) request.abort.abort();
    this.#fetching.clear();
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
