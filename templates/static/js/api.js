import { at } from "./base-path.js";

export class ApiError extends Error {
  /** `code` and `values`: what `reasonOf` says in the page's language. */
  constructor(message, status, { code, values } = {}) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
    this.values = values;
  }
}

const RETRY_AFTER = 1500;

/** The JSON routes of one model type, or those of none. Every call takes an AbortSignal and throws ApiError. */
export class Api {
  #base;

  constructor(prefix = "", base = "/api/lm/") {
    this.#base = at(prefix ? `${base}${encodeURIComponent(prefix)}/` : base);
  }

  async get(route, params = {}, signal = undefined) {
    const query = new URLSearchParams(params).toString();
    // no-cache: the browser asks with the last ETag and gets an empty 304 when nothing changed.
    return this.#send(`${route}${query ? `?${query}` : ""}`, { cache: "no-cache", signal });
  }

  async post(route, body = {}, signal = undefined) {
    return this.#send(route, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal });
  }

  /** Sends a form, which may hold files. */
  async postForm(route, fields, signal = undefined) {
    const body = new FormData();
    for (const [name, value] of Object.entries(fields)) body.append(name, value);
    return this.#send(route, { method: "POST", body, signal });
  }

  /**
   * As `get`, but waits as long as the type answers 503 (its library is not attached yet). `waiting(true)` is called
   * when that begins, `waiting(false)` when it is over.
   */
  async getWhenReady(route, params, signal, waiting = () => {}) {
    let told = false;
    try {
      for (;;) {
        try {
          return await this.get(route, params, signal);
        } catch (error) {
          if (error.status !== 503) throw error;
          if (!told) waiting(true);
          told = true;
          await pause(RETRY_AFTER, signal);
        }
      }
    } finally {
      if (told) waiting(false);
    }
  }

  async #send(path, options) {
    let response;
    try {
      // A header that no other site can make a browser send: it tells the server that its own page is asking.
      const headers = { ...options.headers, "X-Modelshelf-Page": "1" };
      response = await fetch(this.#base + path, { ...options, headers });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new ApiError("", 0);
    }
    // Providers answer 401, too; only the server itself names how to log in.
    if (response.status === 401 && response.headers.has("WWW-Authenticate")) {
      location.assign(at(`/login?next=${encodeURIComponent(location.pathname + location.search + location.hash)}`));
    }
    const body = await response.json().catch((error) => {
      if (error.name === "AbortError") throw error;
      return null;
    });
    if (!response.ok || body === null || body.success === false) {
      throw new ApiError(body?.error ?? body?.message ?? `${response.status} ${response.statusText}`, response.status, body ?? {});
    }
    return body;
  }
}

export function isAbort(error) {
  return error?.name === "AbortError";
}

function pause(delay, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, delay);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
}
