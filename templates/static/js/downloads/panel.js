import { isAbort } from "../api.js";
import { openDialog } from "../controls/dialog.js";
import { h, icon } from "../dom.js";
import { reasonOf } from "../reason.js";
import { ProgressBar } from "../status/progress.js";
import { bytes, moment, number, t, timeLeft } from "../texts.js";
import { toast } from "../toast.js";
import { addForm } from "./add.js";

const POLL = 1000;
const PAGE = 50;

/** The dialog of downloads: adding one (`address` is entered already), the queue as it goes on, and what came to its end. */
export function openDownloads({ api, type, live, address = "" }) {
  const add = addForm(api, type, { started: () => load() });
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
  let ended = "";

  const act = async (route, params = {}) => {
    try {
      await api.get(route, params);
    } catch (error) {
      toast(t("downloads.failed", { reason: reasonOf(error) }), { bad: true });
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
      if (document.activeElement?.hidden) add.focus();
    } catch (error) {
      if (isAbort(error)) return;
      empty.textContent = reasonOf(error);
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
      if (queue.children[at] === row.element) return;
      // What is put elsewhere loses the focus.
      const focused = row.element.contains(document.activeElement) ? document.activeElement : null;
      queue.insertBefore(row.element, queue.children[at] ?? null);
      focused?.focus();
    });
  };
  // Made anew only when it is another one: a row that goes under the pointer takes the click along.
  const drawHistory = ({ items, total }) => {
    const now = JSON.stringify([items, total]);
    if (now === ended) return;
    ended = now;
    const focused = history.contains(document.activeElement) ? document.activeElement : null;
    const row = focused?.closest("li");
    const at = row ? [...row.querySelectorAll("button")].indexOf(focused) : -1;
    history.replaceChildren(...items.map((item) => historyRow(item, act)));
    if (focused) (history.querySelectorAll(`[data-id="${CSS.escape(row.dataset.id)}"] button`)[at] ?? add).focus();
    clear.hidden = !total;
    more.hidden = items.length >= total;
    more.textContent = t("groups.more", { n: number(total - items.length) });
  };

  openDialog({
    title: t("downloads.title"),
    className: "downloads",
    outside: true,
    onClose: () => {
      live.removeEventListener("downloads", load);
      clearTimeout(timer);
      asking?.abort();
      add.close();
    },
  },
    add.element,
    h("h3", { class: "downloads__heading" }, t("downloads.queue")), empty, queue,
    h("div", { class: "downloads__heading downloads__heading--row" }, h("h3", {}, t("downloads.history")), again, clear), history, more,
    h("div", { class: "toasts", role: "status", "aria-live": "polite" }),
  );
  live.addEventListener("downloads", load);
  add.focus();
  if (address) add.enter(address);
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
      const waits = item.status === "queued";
      if (!waits && top === document.activeElement) hold.focus();
      top.hidden = !waits;
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
