import { at } from "./base-path.js";
import { isAbort } from "./api.js";

const POLL = 2000;
const POLL_BUSY = 1000;
const RECONNECT = [1000, 2000, 5000, 10000, 30000];

/**
 * What happens on the server: `changed` when models of this type did, `activity` with how far work on them is,
 * `refresh` with how far metadata from providers is, `providers` with whether they can be reached,
 * `organise` with how far auto-organise is, `library` with the name of the library that became active, `plugins` when one came, went or changed, `downloads` when their queue or history did, `status` with the answer of the status route, `reachable`
 * with whether the server answers, `connected` when messages come again after they may have been missed. Two sockets carry it; without them the status route is polled.
 */
export class Live extends EventTarget {
  #api;
  #prefix;
  #open = new Set();
  #status = null;
  #reachable = true;
  #library;
  #timer = 0;
  #asking = null;

  constructor(api, prefix, library) {
    super();
    this.#library = library;
    this.#api = api;
    this.#prefix = prefix;
  }

  start() {
    this.#connect("fetch-progress", (message) => {
      const own = !message.pageType || message.pageType === this.#prefix;
      if (message.type === "models_changed" && own) this.#changed();
      if (message.type === "activity" && own) this.#emit("activity", message);
      if (message.task === "fetch_all" && own) this.#emit("refresh", message);
      if (message.type === "providers") this.#emit("providers", message);
      if ((message.type === "updates_changed" && own) || message.type === "settings_changed") this.#emit("changed");
      if (message.type === "auto_organize_progress") this.#emit("organise", message);
      if (message.type === "plugins_changed") this.#emit("plugins");
      if (message.type === "downloads_changed") this.#emit("downloads");
      if (message.type === "library_activated") this.#entered(message.library);
    });
    this.#connect("init-progress", (message) => {
      // Progress comes faster than answers may; only the end must not be missed.
      if (message.pageType === this.#prefix && (!this.#asking || message.status)) this.refresh();
    });
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.refresh();
    });
    this.refresh();
  }

  /** Asks for the status now; the next poll is set by what it says. */
  async refresh() {
    this.#asking?.abort();
    const asking = (this.#asking = new AbortController());
    clearTimeout(this.#timer);
    try {
      const answer = await this.#api.get("status", {}, asking.signal);
      // The last word about a reading that is over stays in the answer; it is no progress any more.
      const status = { ...answer, progress: answer.progress?.status === "complete" ? null : answer.progress };
      const before = this.#status;
      this.#status = status;
      this.#reached(true);
      this.#entered(status.library);
      this.#emit("status", status);
      if (before && before.generation !== status.generation) this.#emit("changed");
    } catch (error) {
      if (isAbort(error)) return;
      this.#reached(error.status !== 0);
    }
    if (asking.signal.aborted) return;
    this.#asking = null;
    this.#plan();
  }

  #plan() {
    const busy = !this.#status || this.#status.is_initializing || this.#status.progress;
    const blind = this.#open.size < 2 || !this.#reachable;
    if (busy || blind) this.#timer = setTimeout(() => this.refresh(), busy ? POLL_BUSY : POLL);
  }

  #changed() {
    // The generation of the next status answer is this change; don't report it twice.
    this.#status = null;
    this.#emit("changed");
    this.refresh();
  }

  #entered(library) {
    if (!library || library === this.#library) return;
    this.#library = library;
    this.#emit("library", library);
  }

  #reached(yes) {
    if (yes === this.#reachable) return;
    this.#reachable = yes;
    this.#emit("reachable", yes);
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #connect(name, receive, attempt = 0) {
    const url = new URL(at(`/ws/${name}`), location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url);
    socket.addEventListener("open", () => {
      this.#open.add(name);
      // Something may have happened between the last status and now.
      if (attempt) {
        this.refresh();
        this.#emit("connected");
      }
      attempt = 0;
    });
    socket.addEventListener("message", ({ data }) => {
      try {
        receive(JSON.parse(data));
      } catch {
        // A message that isn't JSON is none of ours.
      }
    });
    socket.addEventListener("close", () => {
      if (this.#open.delete(name)) this.refresh();
      setTimeout(() => this.#connect(name, receive, attempt + 1), RECONNECT[Math.min(attempt, RECONNECT.length - 1)]);
    });
  }
}
