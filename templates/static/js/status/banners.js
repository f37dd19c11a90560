import { byId, h, icon } from "../dom.js";
import { number, t } from "../texts.js";
import { ProgressBar, stageText } from "./progress.js";

/** Lines above the list for what goes on beside it: a scan, a disk that is away, a server that doesn't answer. */
export function mountBanners({ store, retry, cancelScan, cancelRefresh }) {
  const place = byId("banners");
  const working = workingBanner(cancelScan);
  const refresh = refreshBanner(cancelRefresh);
  let before = "";

  store.watch(["status", "reachable", "scan", "listError", "total", "activities", "refreshing", "providers", "pluginFailure"], ({ status, reachable, scan, listError, total, activities, refreshing, providers, pluginFailure }) => {
    const away = (status?.roots ?? []).filter((root) => !root.online);
    // A scan that says more of itself is shown as an activity.
    const busy = !activities.scan && (scan || (status?.progress && total > 0));
    working.update(status?.progress, scan);
    if (refreshing) refresh.update(refreshing);

    const hosts = (providers?.hosts ?? []).filter(({ offline }) => offline).map(({ host }) => host).join(", ");

    const lines = [
      !reachable && ["unreachable", () => banner("bad", "alert", t("error.unreachable"))],
      reachable && listError && total > 0 && [`error ${listError.message}`, () => banner("bad", "alert", listError.message || t("error.list"), h("button", { class: "button button--quiet button--small", type: "button", onclick: retry }, t("error.retry")))],
      pluginFailure && [`plugin ${pluginFailure.text} ${pluginFailure.reason}`, () => banner("bad", "alert", pluginFailure.text, h("a", { href: "/plugins" }, t("plugins.open")), pluginFailure.reason && reason(pluginFailure.reason))],
      away.length > 0 && [`away ${away.map((root) => `${root.path} ${root.reason ?? ""}`).join()}`, () => banner("warn", "offline", t("roots.away"), h("span", { class: "banner__paths" }, away.map((root) => h("span", {}, h("code", {}, root.path), root.reason && ` ${t("roots.silent", { seconds: root.answer_seconds })}`))))],
      providers?.offline && [`providers ${hosts}`, () => banner("warn", "offline", t("providers.offline", { hosts }))],
      refreshing && ["refreshing", () => refresh.element],
      busy && ["working", () => working.element],
    ].filter(Boolean);

    // Lines that stay are left alone: a screen reader would read a replaced one again.
    const now = lines.map(([key]) => key).join("\n");
    if (now === before) return;
    before = now;
    place.replaceChildren(...lines.map(([, make]) => make()));
  });
}

/** What a compiler or the loader said, as it said it. */
function reason(text) {
  return h("pre", { class: "banner__reason", tabindex: "0" }, text.trim());
}

function banner(tone, glyph, text, ...rest) {
  return h("div", { class: `banner banner--${tone}`, role: tone === "bad" ? "alert" : "status" }, icon(glyph), h("span", { class: "banner__text" }, text), ...rest);
}

function workingBanner(cancelScan) {
  const bar = new ProgressBar(t("scan.running"));
  const text = h("span", { class: "banner__text" }, t("scan.running"));
  const cancel = h("button", { class: "button button--quiet button--small", type: "button", onclick: cancelScan }, icon("stop"), t("scan.cancel"));
  return {
    element: h("div", { class: "banner banner--working" }, icon("refresh", "icon icon--turning"), text, bar.element, cancel),
    update(progress, scan) {
      bar.set(progress && progress.progress > 0 ? progress.progress : null);
      const now = progress ? stageText(progress) : t("scan.running");
      if (text.textContent !== now) text.textContent = now;
      cancel.hidden = !scan;
    },
  };
}

function refreshBanner(cancelRefresh) {
  const bar = new ProgressBar(t("refresh.label"));
  const text = h("span", { class: "banner__text" });
  const cancel = h("button", { class: "button button--quiet button--small", type: "button", onclick: cancelRefresh }, icon("stop"), t("refresh.cancel"));
  return {
    element: h("div", { class: "banner banner--working" }, icon("refresh", "icon icon--turning"), text, bar.element, cancel),
    update({ handled, total, success }) {
      bar.set(total ? (handled / total) * 100 : null);
      const now = t("refresh.progress", { done: number(handled), of: number(total), updated: number(success) });
      if (text.textContent !== now) text.textContent = now;
    },
  };
}
