import { byId, h, icon } from "../dom.js";
import { reasonOf } from "../reason.js";
import { bytes, number, t, timeLeft, tn } from "../texts.js";
import { toast } from "../toast.js";
import { ProgressBar } from "./progress.js";

// Work that is over sooner is not worth a word.
const SHOWN_AFTER = 600;
// Messages come several times a second while something runs; after a longer silence the server is asked.
const SILENCE = 10_000;

/** What runs at the same time: looking for changes, in two phases, and hashing. */
const KINDS = {
  scan: { phases: ["walking", "reading"], glyph: "refresh" },
  hashing: { phases: ["hashing"], glyph: "hash" },
};

function kindOf(activity) {
  return Object.keys(KINDS).find((kind) => KINDS[kind].phases.includes(activity.phase));
}

/** `{scan?, hashing?}` of a list of activities; those that are over are left out. */
function byKind(list) {
  const found = {};
  for (const activity of list ?? []) {
    const kind = kindOf(activity);
    if (kind && isOn(activity)) found[kind] = activity;
  }
  return found;
}

function isOn({ state }) {
  return state === "running" || state === "paused";
}

/** A corner of the list that says what the server does by itself, how far it is, and lets it be stopped or paused. */
export function mountActivity({ api, general, live, store }) {
  const place = byId("activity");
  const rows = new Map();
  const since = new Map();
  let silence = 0;

  const listen = () => {
    clearTimeout(silence);
    const runs = Object.values(store.state.activities).some(({ state }) => state === "running");
    if (runs) silence = setTimeout(() => live.refresh(), SILENCE);
  };
  const take = (activities) => {
    store.set({ activities }, "none");
    listen();
  };
  const act = async (kind, call, after) => {
    try {
      await call();
      const now = store.state.activities[kind];
      if (now && after) take({ ...store.state.activities, [kind]: { ...now, ...after } });
      live.refresh();
    } catch (error) {
      toast(t("activity.failed", { reason: reasonOf(error) }));
    }
  };
  const actions = {
    cancel: () => act("scan", () => api.post("cancel-task")),
    pause: () => act("hashing", () => general.post("hashing/pause"), { state: "paused" }),
    resume: () => act("hashing", () => general.post("hashing/resume"), { state: "running" }),
  };

  live.addEventListener("activity", ({ detail: activity }) => {
    const kind = kindOf(activity);
    if (!kind) return;
    const { [kind]: before, ...others } = store.state.activities;
    take(isOn(activity) ? { ...others, [kind]: activity } : others);
  });
  live.addEventListener("status", ({ detail: status }) => {
    if (status.activity !== undefined) take(byKind(status.activity));
  });
  live.addEventListener("library", () => take({}));

  const draw = () => {
    const { activities, reachable } = store.state;
    for (const kind of Object.keys(KINDS)) {
      const activity = reachable ? activities[kind] : undefined;
      if (!activity) {
        since.delete(kind);
        rows.get(kind)?.element.remove();
        rows.delete(kind);
        continue;
      }
      if (!since.has(kind)) {
        since.set(kind, performance.now());
        setTimeout(draw, SHOWN_AFTER);
      }
      if (!rows.has(kind) && performance.now() - since.get(kind) < SHOWN_AFTER - 1) continue;
      if (!rows.has(kind)) rows.set(kind, new Row(kind, actions));
      rows.get(kind).update(activity);
    }
    // Rows that stay keep their place in the document, and with it the focus.
    for (const kind of Object.keys(KINDS)) {
      const row = rows.get(kind);
      if (row && !row.element.isConnected) place.append(row.element);
    }
    place.hidden = rows.size === 0;
  };
  store.watch(["activities", "reachable"], draw);
}

class Row {
  #glyph;
  #text = h("span", { class: "activity__text" });
  #more = h("span", { class: "activity__more" });
  #bar = new ProgressBar(t("activity.label"));
  #button = h("button", { class: "button button--bare button--small", type: "button" });
  #does = null;
  #kind;
  element;

  constructor(kind, actions) {
    this.#kind = kind;
    this.#glyph = icon(KINDS[kind].glyph);
    this.#button.addEventListener("click", () => actions[this.#does]());
    this.element = h("div", { class: "activity__row" }, this.#glyph, h("span", { class: "activity__words" }, this.#text, this.#more), this.#button, this.#bar.element);
  }

  update(activity) {
    const paused = activity.state === "paused";
    write(this.#text, title(activity, paused));
    write(this.#more, facts(activity, paused));
    const share = shareOf(activity);
    this.#bar.set(share === null ? null : share * 100);
    this.#bar.element.setAttribute("aria-valuetext", `${this.#text.textContent} ${this.#more.textContent}`);
    this.#bar.element.classList.toggle("progress--resting", paused);
    this.#glyph.classList.toggle("icon--turning", this.#kind === "scan");
    this.#offer(this.#kind === "scan" ? "cancel" : paused ? "resume" : "pause");
  }

  #offer(action) {
    if (action === this.#does) return;
    this.#does = action;
    const glyph = { cancel: "stop", pause: "pause", resume: "play" }[action];
    this.#button.replaceChildren(icon(glyph));
    this.#button.title = t(`activity.${action}`);
    this.#button.setAttribute("aria-label", this.#button.title);
  }
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function title({ phase }, paused) {
  return t(paused ? `activity.${phase}.paused` : `activity.${phase}`);
}

function facts(activity, paused) {
  const { done, total, bytes_done: read, bytes_total: all, bytes_per_second: rate, files_per_second: files, seconds_left: left } = activity;
  return [
    total ? t("activity.of", { done: number(done), total: number(total) }) : done > 0 && tn("activity.seen", done),
    all > 0 && t("activity.of", { done: bytes(read), total: bytes(all) }),
    !paused && speed(rate, files),
    !paused && Number.isFinite(left) && left !== null && timeLeft(left),
  ].filter(Boolean).join(" · ");
}

/** Bytes a second where bytes are what takes the time, else files. */
function speed(rate, files) {
  if (rate > 0) return t("activity.rate", { rate: bytes(rate) });
  return files >= 1 && t("activity.files", { n: number(Math.round(files)) });
}

/** How far it is, from 0 to 1; bytes say it better than files, which differ in size. */
function shareOf({ done, total, bytes_done: read, bytes_total: all }) {
  if (all > 0) return Math.min(1, read / all);
  return total > 0 ? Math.min(1, done / total) : null;
}
