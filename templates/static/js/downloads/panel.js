import { isAbort } from "../api.js";
import { h, icon } from "../dom.js";
import { ProgressBar } from "../status/progress.js";
import { bytes, moment, number, t, tn } from "../texts.js";
import { toast } from "../toast.js";
import { addForm } from "./add.js";

const POLL = 1000;
const PAGE = 50;
const HOUR = 3600;

/** The dialog of downloads: adding one, the queue as it goes on, and what came to its end. */
export function openDownloads({ api, type, live }) {
  const dialog = h("dialog", { class: "sheet downloads", "aria-labelledby": "downloads-title" });
  const add = addForm(api, type);
  const queue = h("ul", { class: "downloads__list", "aria-label": t("downloads.queue") });
  const history = h("ul", { class: "downloads__list", "aria-label": t("downloads.history") });
  const empty = h("p", { class: "downloads__note" });
  const again = h("button", { class: "button button--quiet button--small", type: "button", hidden: true, onclick: () => act("downloads/history/retry-all") }, icon("refresh"), t("downloads.retryAll"));
  const clear = h("button", { class: "button button--quiet button--small", type: "button", hidden: true, onclick: () => act("downloads/history/clear") }, t("downloads.clear"));
  const more = h("button", { class: "button button--quiet", type: "button", hidden: true, onclick: () => {
    shown += PAGE;
    load();
  } });
  const rows = new Map();
  let shown = PAGE;
  let timer = 0;
  let asking = null;

  const act = async (route, params = {}) => {
    try {
      await api.get(route, params);
    } catch (error) {
      toast(t("downloads.failed", { reason: error.message || t("error.unreachable") }), { bad: true });
    }
    load();
  };
  const load = async () => {
    clearTimeout(timer);
    asking?.abort();
    const { signal } = (asking = new AbortController());
    try {
      const [now, past] = await Promise.all([api.get("downloads/queue", {}, signal), api.get("downloads/history", { limit: Math.min(500, shown) }, signal)]);
      drawQueue(now.queue);
      drawHistory(past);
      again.hidden = !(now.stats.failed + now.stats.canceled);
      empty.textContent = now.queue.length ? "" : t("downloads.none");
    } catch (error) {
      if (isAbort(error)) return;
      empty.textContent = error.message || t("error.unreachable");
    }
    if (!signal.aborted) timer = setTimeout(load, POLL);
  };
  const drawQueue = (list) => {
    const ids = new Set(list.map(({ download_id: id }) => id));
    for (const [id, row] of rows) {
      if (ids.has(id)) continue;
      // The focus must not fall out of the dialog with its row.
      if (row.element.contains(document.activeElement)) add.focus();
      row.element.remove();
      rows.delete(id);
    }
    list.forEach((item, at) => {
      const row = rows.get(item.download_id) ?? queueRow(item.download_id, act);
      rows.set(item.download_id, row);
      row.draw(item);
      if (queue.children[at] !== row.element) queue.insertBefore(row.element, queue.children[at] ?? null);
    });
  };
  const drawHistory = ({ items, total }) => {
    const focused = history.contains(document.activeElement) ? document.activeElement.closest("li").dataset.id : null;
    history.replaceChildren(...items.map((item) => historyRow(item, act)));
    if (focused) (history.querySelector(`[data-id="${CSS.escape(focused)}"] button`) ?? history.querySelector("button") ?? more).focus();
    clear.hidden = !total;
    more.hidden = items.length >= total;
    more.textContent = t("groups.more", { n: number(total - items.length) });
  };

  dialog.append(
    h("div", { class: "sheet__head" },
      h("h2", { class: "sheet__title", id: "downloads-title" }, t("downloads.title")),
      h("button", { class: "button button--bare", type: "button", "aria-label": t("shortcuts.close"), onclick: () => dialog.close() }, icon("close"))),
    add.element,
    h("h3", { class: "downloads__heading" }, t("downloads.queue")), empty, queue,
    h("div", { class: "downloads__heading downloads__heading--row" }, h("h3", {}, t("downloads.history")), again, clear), history, more,
    h("div", { class: "toasts", role: "status", "aria-live": "polite" }),
  );
  live.addEventListener("downloads", load);
  dialog.addEventListener("close", () => {
    live.removeEventListener("downloads", load);
    clearTimeout(timer);
    asking?.abort();
    add.close();
    dialog.remove();
  });
  dialog.addEventListener("click", ({ target }) => {
    if (target === dialog) dialog.close();
  });
  document.body.append(dialog);
  dialog.showModal();
  add.focus();
  load();
}

function nameOf(item) {
  return item.model_name || item.file_path?.split("/").at(-1) || t("downloads.model", { id: item.model_version_id ?? item.model_id ?? "" });
}

function queueRow(id, act) {
  const name = h("span", { class: "downloads__name" });
  const facts = h("span", { class: "downloads__facts" });
  const bar = new ProgressBar(t("downloads.title"));
  const button = (glyph, run) => {
    const element = h("button", { class: "button button--bare button--small", type: "button", onclick: () => run() }, icon(glyph));
    return element;
  };
  const of = { download_id: id };
  let paused = false;
  const hold = button("pause", () => act(paused ? "resume-download" : "pause-download", of));
  const top = button("chevron", () => act("downloads/queue/move-to-top", of));
  const cancel = button("close", () => act("cancel-download-get", of));
  top.classList.add("downloads__top");
  const element = h("li", { class: "downloads__row", "data-id": id },
    h("div", { class: "downloads__words" }, name, facts), h("div", { class: "downloads__buttons" }, top, hold, cancel), bar.element);
  const label = (own, text) => {
    own.setAttribute("aria-label", text);
    own.title = text;
  };
  return {
    element,
    draw(item) {
      const title = nameOf(item);
      name.textContent = [title, item.version_name].filter(Boolean).join(" · ");
      facts.textContent = factsOf(item);
      bar.set(item.progress);
      bar.element.setAttribute("aria-label", title);
      if (paused !== (item.status === "paused")) {
        paused = item.status === "paused";
        hold.replaceChildren(icon(paused ? "play" : "pause"));
      }
      label(hold, t(paused ? "downloads.resume" : "downloads.pause", { name: title }));
      label(cancel, t("downloads.cancel", { name: title }));
      label(top, t("downloads.first", { name: title }));
      top.hidden = item.status !== "queued";
    },
  };
}

function factsOf({ status, bytes_downloaded: here, total_bytes: total, bytes_per_second: rate }) {
  const left = status === "downloading" && rate > 0 && total ? (total - here) / rate : null;
  return [
    t(`downloads.status.${["queued", "downloading", "paused"].includes(status) ? status : "other"}`, { status }),
    total ? t("activity.of", { done: bytes(here), total: bytes(total) }) : null,
    status === "downloading" && rate > 0 ? t("activity.rate", { rate: bytes(rate) }) : null,
    left === null ? null : timeLeft(left),
  ].filter(Boolean).join(" · ");
}

function timeLeft(seconds) {
  if (seconds < 60) return t("activity.left.soon");
  return seconds < HOUR ? tn("activity.left.minutes", Math.round(seconds / 60)) : tn("activity.left.hours", Math.round(seconds / HOUR));
}

function historyRow(item, act) {
  const title = nameOf(item);
  const again = ["failed", "canceled"].includes(item.status);
  const status = ["completed", "failed", "canceled", "skipped"].includes(item.status) ? t(`downloads.ended.${item.status}`) : item.status;
  const time = new Date(item.completed_at * 1000);
  return h("li", { class: "downloads__row", "data-id": item.id },
    h("div", { class: "downloads__words" },
      h("span", { class: "downloads__name" }, [title, item.version_name].filter(Boolean).join(" · ")),
      h("span", { class: "downloads__facts" }, status, " · ", h("time", { datetime: time.toISOString() }, moment(time)), item.total_bytes ? ` · ${bytes(item.total_bytes)}` : ""),
      item.error && h("span", { class: "downloads__error" }, item.error),
      !item.error && item.file_path && h("span", { class: "downloads__facts" }, item.file_path)),
    h("div", { class: "downloads__buttons" },
      again && h("button", { class: "button button--quiet button--small", type: "button", "aria-label": t("downloads.retryOne", { name: title }), onclick: () => act("downloads/history/retry", { id: item.id }) }, icon("refresh"), t("downloads.retry")),
      h("button", { class: "button button--bare button--small", type: "button", "aria-label": t("downloads.forget", { name: title }), title: t("downloads.forget", { name: title }), onclick: () => act("downloads/history/delete", { id: item.id }) }, icon("close"))));
}
