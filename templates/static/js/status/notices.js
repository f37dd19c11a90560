import { bootstrap } from "../bootstrap.js";
import { h, icon } from "../dom.js";
import { reasonOf } from "../reason.js";
import { t, tn } from "../texts.js";
import { ProgressBar, stageText } from "./progress.js";

const { type } = bootstrap;

function box(mark, title, ...rest) {
  return h("div", { class: "notice__box" }, mark, h("h2", { class: "notice__title" }, title), rest);
}

function mark(name) {
  return h("span", { class: "notice__mark" }, icon(name));
}

/** The library has no models at all: says where it looks and how to add folders. */
export function emptyLibrary(status) {
  const roots = status?.roots ?? [];
  const key = roots[0]?.key ?? type.prefix;
  return box(mark("folder"), t("empty.title", { name: type.display_name }),
    h("p", { class: "notice__text" }, t(roots.length ? "empty.looked" : "empty.noRoots")),
    roots.length > 0 && h("ul", { class: "roots" }, roots.map((root) => h("li", { class: "roots__root" }, icon(root.online ? "folder" : "offline"), h("code", {}, root.path), !root.online && h("span", { class: "roots__state" }, root.reason ? t("roots.silent", { seconds: root.answer_seconds }) : t("roots.offline"))))),
    h("p", { class: "notice__text" }, t(roots.length ? "empty.how" : "empty.start")),
    h("pre", { class: "notice__code", tabindex: "0" }, h("code", {}, `host --root ${key}=/path/to/models`)));
}

export function emptyFilter(clear) {
  return box(mark("search"), t("nothing.title"), h("p", { class: "notice__text" }, t("nothing.text")), h("button", { class: "button button--filled", type: "button", onclick: clear }, t("nothing.clear")));
}

export function emptyExcluded() {
  return plainNotice("eye-off", t("excluded.none"), t("excluded.noneText"));
}

export function plainNotice(glyph, title, text) {
  return box(mark(glyph), title, h("p", { class: "notice__text" }, text));
}

export function failure(error, retry) {
  const element = box(mark("alert"), t("error.list"), h("p", { class: "notice__text" }, reasonOf(error)), h("button", { class: "button button--filled", type: "button", onclick: retry }, t("error.retry")));
  element.setAttribute("role", "alert");
  return element;
}

/** The library is being read for the first time. One element for the whole time; `update(status)` moves it on. */
export function initializing() {
  const bar = new ProgressBar(t("init.title"));
  const stage = h("p", { class: "notice__text", "aria-live": "polite" });
  const details = h("p", { class: "notice__text notice__text--small" });
  const count = h("p", { class: "notice__figure" });
  const element = box(null, t("init.title"), stage, bar.element, count, details);
  return {
    element,
    update(status) {
      const progress = status?.progress ?? null;
      bar.set(progress ? progress.progress : null);
      const text = progress ? stageText(progress) : t("init.starting");
      // Written only when it changes: a live region would say it again and again.
      if (stage.textContent !== text) stage.textContent = text;
      details.textContent = progress?.details ?? "";
      count.textContent = status?.total ? tn("count", status.total) : "";
    },
  };
}
